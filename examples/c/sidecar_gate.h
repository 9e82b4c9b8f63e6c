/* The gate page of a component's sidecar, layout version 1, read from C.
 *
 * Copy this one file into your program. The layout and the rules are those of schemas/gate-page.md; closed is the
 * answer whenever anything is missing or in doubt. Linux, little-endian, GCC or Clang. One struct sidecar_gate belongs
 * to one thread; any number of threads and processes may read one page.
 *
 *     struct sidecar_gate gate;
 *     struct sidecar_order order = {.symbol = "XYZ", .venue = "SIM"};
 *     sidecar_gate_init(&gate, "/dev/shm/sidecar-exec-a.gate");
 *     if (sidecar_gate_check(&gate, &order)) send_it();
 */
#ifndef SIDECAR_GATE_H
#define SIDECAR_GATE_H

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIDECAR_PAGE = 4096, SIDECAR_HEADER = 256, SIDECAR_ENTRY = 64, SIDECAR_SCOPES_MAX = 60, SIDECAR_TRIES = 64 };
enum { SIDECAR_NEW = 0, SIDECAR_CANCEL = 1 };
/* Words of 8 bytes. */
enum { SIDECAR_MAGIC, SIDECAR_VERSION, SIDECAR_OPEN_UNTIL, SIDECAR_CHECKSUM, SIDECAR_SEQUENCE, SIDECAR_DEADLINE,
       SIDECAR_STATE, SIDECAR_ROLE, SIDECAR_FLAGS, SIDECAR_COUNT = 12, SIDECAR_BOOT_ID = 22 };

/* What an order concerns; a name left NULL is not looked up, so name all that you can. */
struct sidecar_order {
    const char *symbol, *venue, *account, *strategy;
    int kind;         /* SIDECAR_NEW or SIDECAR_CANCEL; every other kind counts as new. */
    int reduces_risk; /* It can only lessen the risk that is held. */
};

struct sidecar_gate {
    const char *path;      /* The caller's: kept, not copied. */
    const uint64_t *words; /* The mapped page, or NULL, which is closed. */
    dev_t device;
    ino_t inode;
};

static inline uint64_t sidecar_now_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0) return UINT64_MAX; /* Past every deadline. */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* CRC-32 as in zlib, half a byte at a time. */
static inline uint32_t sidecar_crc32(const unsigned char *bytes, size_t count) {
    static const uint32_t half[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                      0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                      0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffff;
    for (size_t at = 0; at < count; at++) {
        crc = half[(crc ^ bytes[at]) & 15] ^ (crc >> 4);
        crc = half[(crc ^ (bytes[at] >> 4)) & 15] ^ (crc >> 4);
    }
    return ~crc;
}

/* Whether the page was written since the host started: an older one's deadlines are of another clock. */
static inline int sidecar_of_this_boot(const unsigned char *page) {
    char text[64] = {0}, hex[33] = {0};
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    for (size_t at = 0, to = 0; at < got && to < 32; at++)
        if (text[at] != '-' && text[at] != '\n') hex[to++] = text[at];
    for (int at = 0; at < 16; at++) {
        unsigned byte;
        if (sscanf(hex + 2 * at, "%2x", &byte) != 1 || byte != page[SIDECAR_BOOT_ID * 8 + at]) return 0;
    }
    return 1;
}

/* Map what stands at the path now, if it is another file than before; whether it is. */
static inline int sidecar_map_again(struct sidecar_gate *gate) {
    struct stat found;
    int fd = open(gate->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return 0;
    void *page = MAP_FAILED;
    if (fstat(fd, &found) == 0 && found.st_size >= SIDECAR_PAGE &&
        !(gate->words && found.st_dev == gate->device && found.st_ino == gate->inode))
        page = mmap(NULL, SIDECAR_PAGE, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return 0;
    const uint64_t *words = page;
    if (memcmp(page, "SIDEGATE", 8) != 0 || words[SIDECAR_VERSION] != 1 || !sidecar_of_this_boot(page)) {
        munmap(page, SIDECAR_PAGE);
        return 0;
    }
    if (gate->words) munmap((void *)gate->words, SIDECAR_PAGE);
    gate->words = words, gate->device = found.st_dev, gate->inode = found.st_ino;
    return 1;
}

static inline int sidecar_permits(uint64_t level, uint64_t flags, const struct sidecar_order *order) {
    if (level == 0 || order->kind == SIDECAR_CANCEL) return 1;
    if (!order->reduces_risk || level == 2) return 0;
    return level == 1 || (flags & 1); /* REDUCING; HALTED, which every other level counts as. */
}

/* 1 or 0: a sound copy of the page lets the order pass, or not; -1 its deadline has passed; -2 no sound copy was had. */
static inline int sidecar_judge(const struct sidecar_gate *gate, const struct sidecar_order *order) {
    const char *names[4] = {order->venue, order->account, order->symbol, order->strategy};
    uint64_t copy[SIDECAR_PAGE / 8];
    const unsigned char *bytes = (const unsigned char *)copy;
    for (int tries = 0; gate->words && tries < SIDECAR_TRIES; tries++, sched_yield()) {
        uint64_t sequence = __atomic_load_n(&gate->words[SIDECAR_SEQUENCE], __ATOMIC_ACQUIRE);
        memcpy(copy, gate->words, SIDECAR_PAGE);
        size_t used = SIDECAR_HEADER + copy[SIDECAR_COUNT] * SIDECAR_ENTRY;
        if (sequence % 2 || copy[SIDECAR_SEQUENCE] != sequence || copy[SIDECAR_COUNT] > SIDECAR_SCOPES_MAX ||
            sidecar_crc32(bytes + 32, used - 32) != copy[SIDECAR_CHECKSUM])
            continue;
        if (sidecar_now_ns() >= copy[SIDECAR_DEADLINE]) return -1;
        if (copy[SIDECAR_ROLE] != 1) return 0;
        if (!sidecar_permits(copy[SIDECAR_STATE], copy[SIDECAR_FLAGS], order)) return 0;
        for (const unsigned char *entry = bytes + SIDECAR_HEADER; entry < bytes + used; entry += SIDECAR_ENTRY) {
            const char *name = entry[0] < 4 ? names[entry[0]] : NULL;
            int named = name && strlen(name) == entry[2] && !memcmp(name, entry + 4, entry[2]);
            if (entry[0] > 3) return 0; /* A kind of scope that this reader does not know. */
            if (named && !sidecar_permits(entry[1], copy[SIDECAR_FLAGS], order)) return 0;
        }
        return 1;
    }
    return -2;
}

static inline void sidecar_gate_init(struct sidecar_gate *gate, const char *path) {
    memset(gate, 0, sizeof *gate), gate->path = path, sidecar_map_again(gate);
}

/* Whether such an order may be sent now: 1 or 0. Asks nobody and never blocks; about 30 ns while all is open. */
static inline int sidecar_gate_check(struct sidecar_gate *gate, const struct sidecar_order *order) {
    if (gate->words && sidecar_now_ns() < __atomic_load_n(&gate->words[SIDECAR_OPEN_UNTIL], __ATOMIC_ACQUIRE)) return 1;
    int answer = sidecar_judge(gate, order);
    if (answer < 0 && sidecar_map_again(gate)) answer = sidecar_judge(gate, order); /* It was removed and made again. */
    return answer == 1;
}
#endif

/* A component beside its sidecar in plain C: hold a session, ask for an order, send it, report what became of it.
 *
 *     cc -O2 -Wall -o trading trading.c && sidecar run --config sidecar.toml -- ./trading
 *
 * `sidecar run` sets SIDECAR_SOCKET and SIDECAR_GATE for its child. HTTP/1.0 is enough: each answer ends with its
 * connection. A real component parses the JSON with a library of its choice, and goes on reading its session.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "sidecar_gate.h"

enum { ANSWER = 65536 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* A connection on which this request was sent. */
static int sent(const char *method, const char *path, const char *body) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = getenv("SIDECAR_SOCKET");
    char request[4096];
    if (!name || strlen(name) >= sizeof address.sun_path) {
        fprintf(stderr, "set SIDECAR_SOCKET to the socket of the sidecar\n");
        exit(2);
    }
    strcpy(address.sun_path, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die(name);
    int length = snprintf(request, sizeof request, "%s %s HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s", method, path,
                          strlen(body), body);
    if (length >= (int)sizeof request || write(fd, request, length) != length) die(path);
    return fd;
}

/* The body of the whole answer. */
static const char *asked(const char *method, const char *path, const char *body) {
    static char answer[ANSWER];
    size_t filled = 0;
    int fd = sent(method, path, body);
    for (ssize_t got; filled < sizeof answer - 1; filled += got) {
        got = read(fd, answer + filled, sizeof answer - 1 - filled);
        if (got < 0) die(path);
        if (got == 0) break;
    }
    close(fd);
    answer[filled] = 0;
    const char *end = strstr(answer, "\r\n\r\n");
    return end ? end + 4 : answer;
}

/* Read the session, one JSON object a line, until the gate is open. The connection stays open: it is our life. */
static void wait_until_open(int session) {
    FILE *lines = fdopen(dup(session), "r");
    char line[ANSWER] = "";
    while (lines && fgets(line, sizeof line, lines))
        if (strstr(line, "\"type\":\"gate-status.v1\"") && strstr(line, "\"open\":true")) {
            fclose(lines);
            return;
        }
    fprintf(stderr, "the session ended: %s\n", line);
    exit(1);
}

int main(void) {
    struct sidecar_gate gate;
    struct sidecar_order order = {.symbol = "XYZ", .venue = "SIM", .account = "A1"};
    char id[64], body[512], path[128];
    int session = sent("GET", "/v1/session", "");
    wait_until_open(session);
    sidecar_gate_init(&gate, getenv("SIDECAR_GATE") ? getenv("SIDECAR_GATE") : "");

    snprintf(id, sizeof id, "c-%d-%ld", (int)getpid(), (long)time(NULL));
    snprintf(body, sizeof body, "{\"ClOrdID\":\"%s\",\"account\":\"A1\",\"venue\":\"SIM\",\"symbol\":\"XYZ\","
             "\"side\":\"BUY\",\"qty\":\"1\"}", id);
    const char *answer = asked("POST", "/v1/orders", body);
    puts(answer);
    if (!strstr(answer, "\"type\":\"order-granted.v1\"")) return 1;

    snprintf(path, sizeof path, "/v1/orders/%s/report", id);
    if (sidecar_gate_check(&gate, &order)) {
        /* Send the order to your venue here, then say what it answered. */
        puts(asked("POST", path, "{\"outcome\":\"committed\",\"OrderID\":\"venue-1\",\"OrdStatus\":\"NEW\"}"));
    } else {
        puts(asked("POST", path, "{\"outcome\":\"aborted\",\"reason\":\"the gate closed before the order left\"}"));
    }
    close(session);
    return 0;
}

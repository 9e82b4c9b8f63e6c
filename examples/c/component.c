/* A component that asks its gate before it acts: cc -O2 -Wall -o component component.c && ./component PAGE [SYMBOL]
 *
 * Prints what it may do now, for a new order, a risk-reducing one and a cancel; then how long one question takes.
 */
#include "sidecar_gate.h"

enum { QUESTIONS = 100000 };

int main(int count, char **words) {
    struct sidecar_gate gate;
    struct sidecar_order order = {.symbol = count > 2 ? words[2] : NULL};
    if (count < 2) {
        fprintf(stderr, "usage: %s PAGE [SYMBOL]   PAGE is gate.page of the sidecar's configuration\n", words[0]);
        return 2;
    }
    sidecar_gate_init(&gate, words[1]);
    printf("new %d", sidecar_gate_check(&gate, &order));
    order.reduces_risk = 1;
    printf(" reducing %d", sidecar_gate_check(&gate, &order));
    order.reduces_risk = 0, order.kind = SIDECAR_CANCEL;
    printf(" cancel %d\n", sidecar_gate_check(&gate, &order));
    order.kind = SIDECAR_NEW;
    uint64_t begun_ns = sidecar_now_ns(), passed = 0;
    for (int each = 0; each < QUESTIONS; each++) passed += sidecar_gate_check(&gate, &order);
    fprintf(stderr, "%d questions, %ju passed, %.1f ns each\n", QUESTIONS, (uintmax_t)passed,
            (double)(sidecar_now_ns() - begun_ns) / QUESTIONS);
    return 0;
}

"""What the sidecars denied, as their own counters say (GET /metrics on the local interface).

Owns the reading of one counter. Every denial passes a sidecar, the arbiter's as well as its own, so these are all.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

DENIED = "sidecar_orders_denied"


async def read_denials(sockets: Iterable[Path]) -> Counter[str]:
    """Denials by code, summed over the sidecars at these sockets. Raises httpx.HTTPError when one does not answer."""
    total: Counter[str] = Counter()
    for each in sockets:
        # Without TLS on a Unix socket, certificates need not be loaded: that alone takes tens of milliseconds.
        transport = httpx.AsyncHTTPTransport(uds=str(each), verify=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sidecar") as client:
            answer = await client.get("/metrics")
        answer.raise_for_status()
        for family in text_string_to_metric_families(answer.text):
            if family.name == DENIED:
                for sample in family.samples:
                    if sample.name == f"{DENIED}_total":
                        total[sample.labels["code"]] += int(sample.value)
    return total

"""Tiers and machines that tests of fleets ask for."""

TIER = {
    "name": "chat",
    "model": "deepseek-r1-0528",
    "isl": "1k tokens",
    "osl": "1024 tokens",
    "target": "60 tok/s/user",
    "rate": "40 requests/s",
}
FAST = TIER | {"name": "agents", "target": "110 tok/s/user", "rate": "16000 tokens/s"}
GB200 = {"sku": "gb200", "gpus": 144}

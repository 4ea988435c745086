"""Pure rules of the runtime: counts, requests, versions, retry policy, result documents."""

"""What revocation costs: a path check with a list of 10 000 entries as ratio to one without, in the same run."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta

import pytest

from crypto.issuance import Issuer, Revoked, make_crl
from crypto.keys import Purpose, TrustStore
from crypto.revocation import read_revocation_list
from crypto.trust import _verify
from tests.packets import NOW, make_authority, make_signer

ENTRIES = 10_000
ROUNDS = 300
# Measured in thread time on a shared machine with two cores (2026-11-23): 1.0 with the P-384 verification, 1.1 without.
LIMIT, REMEMBERED_LIMIT = 1.2, 1.5


@pytest.mark.parametrize(("remembered", "limit"), [(False, LIMIT), (True, REMEMBERED_LIMIT)])
def test_a_path_check_with_a_long_list_costs_as_much_as_without(remembered, limit):
    root = make_authority()
    booth = make_signer(root)
    revoked = [Revoked(1 << 150 | n, NOW) for n in range(ENTRIES)]
    der = make_crl(Issuer(root.certificate, root.key), 1, revoked, NOW, NOW + timedelta(days=7))
    plain = TrustStore((root.certificate,))
    listed = plain.with_lists([read_revocation_list(der, plain.roots)])

    def cost_s(trust: TrustStore) -> float:
        if not remembered:
            _verify.cache_clear()
        started = time.thread_time()
        trust.path(booth.certificate, (), Purpose.BOOTH, NOW)
        return time.thread_time() - started

    cost_s(plain), cost_s(listed)
    pairs = [(cost_s(plain), cost_s(listed)) for _ in range(ROUNDS)]
    without, with_list = (statistics.median(one) for one in zip(*pairs, strict=True))
    print(
        f"without a list {without * 1e6:.0f} us, with {ENTRIES} entries {with_list * 1e6:.0f} us: {with_list / without:.2f}"
    )
    assert with_list / without < limit

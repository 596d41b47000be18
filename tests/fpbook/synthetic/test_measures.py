import torch

from fpbook.synthetic import measures
from fpbook.synthetic.measures import soundness
from fpcore.certificates.certificate import certify


def test_no_attack_breaks_a_certified_sample_in_a_hundred_thousand_pairs(every_kind, sparse):
    x, y = sparse.test_set(600, seed=11)
    radii = torch.linspace(0.0, 0.45, 20).tolist()
    total = {"pairs": 0, "certified": 0, "broken": 0}
    for net in every_kind.values():
        # branching costs most of the time
        for part, branches in ((slice(60), 20), (slice(60, None), 0)):
            rng = torch.Generator().manual_seed(0)
            for name, count in soundness(net, x[part], y[part], radii, branches, rng=rng).items():
                total[name] += count
    assert total["pairs"] >= 100_000
    assert total["certified"] > 0.2 * total["pairs"]
    assert total["broken"] == 0


def test_the_soundness_sweep_notices_a_broken_certificate(every_kind, sparse, monkeypatch):
    def at_half_the_radius(net, x, y, radius, branches):
        return certify(net, x, y, 0.5 * radius, branches)

    monkeypatch.setattr(measures, "certify", at_half_the_radius)
    counts = soundness(every_kind["dense"], *sparse.test_set(60, seed=7), [0.1, 0.3])
    assert counts["pairs"] == 120 and counts["broken"] > 0

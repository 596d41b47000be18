import torch

from fpbook.results import number, summarise, table
from fpbook.results.ledger import stated_claims
from fpbook.synthetic.null_tests import synthetic_nulls

CPU = torch.device("cpu")


def test_stand_ins_score_what_knows_nothing_must_score(tiny):
    found = summarise(table(synthetic_nulls(tiny, 0, CPU), seed=0))

    def score(quantity, network, experiment="synthetic", **more):
        return number(found, quantity, network, experiment=experiment, **more).value

    for quantity in ("share_dominant", "share_dominant_live", "same_feature"):
        assert score(quantity, "clean") == 1  # of w in the place of w', whatever w is
        assert score(quantity, "random") < 0.5
    assert score("features_gained", "clean") == score("features_lost", "clean") == 0
    assert abs(score("cos_to_init", "random")) < 0.2
    right = score("clean_accuracy", "constant")
    assert 0.3 < right < 0.7 and score("certified_accuracy", "constant") == right
    assert score("robust_accuracy", "constant", "lower-bounds") == right
    assert score("certified_accuracy", "init") <= score("robust_accuracy", "init") < 0.5
    law = {"fitted": "certified_radius", "factor": "k", "sizes": "k < sqrt(d)"}
    assert abs(score("exponent", "protocol", "scaling", **law) + 0.5) < 1e-9


def test_nothing_is_trained(tiny, no_batches):
    no_batches()
    assert synthetic_nulls(tiny, 0, CPU)


def test_claims_on_this_model_find_what_their_stand_ins_score(tiny):
    found = summarise(table(synthetic_nulls(tiny, 0, CPU), seed=0))
    for id, name in (
        ("P1", "clean"),
        ("P2", "random"),
        ("P3", "clean"),
        ("T1", "init"),
        ("T2", "constant"),
        ("L1", "constant"),
        ("S-certified", "protocol"),
    ):
        claim = next(claim for claim in stated_claims() if claim.id == id)
        null = next(null for null in claim.nulls if null.name == name)
        rows = [e for e in claim.evidence if e.sign and null.stands_in(e)]
        scores = [null.pick(e, experiment=e.result).find(found) for e in rows]
        assert any(scores), (id, name)

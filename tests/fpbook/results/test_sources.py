from fpbook.results.sources import source_of


def test_a_source_says_seeds_and_commit(put):
    put("range", {"quantity": "radius", "value": 1.0}, seeds=[0, 1, 2], commit="abc")
    put("pair", {"quantity": "radius", "value": 1.0}, seeds=[0, 3], commit="def")
    put("one", {"quantity": "radius", "value": 1.0}, seeds=[4], commit="012")
    assert source_of("range") == "published: seeds 0 to 2, commit abc"
    assert source_of("pair") == "published: seeds 0, 3, commit def"
    assert source_of("one") == "published: seed 4, commit 012"
    assert source_of("none") == "not yet published"

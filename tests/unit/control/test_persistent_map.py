"""Against a dict: each version stays what it was, whatever is made of it."""

from hypothesis import given
from hypothesis import strategies as st

from connector.control.persistent_map import PersistentMap

keys = st.integers(0, 300).map(lambda n: n << 8 | 1) | st.text(max_size=3)
changes = st.lists(st.tuples(keys, st.none() | st.integers()), max_size=60)


@given(st.lists(changes, max_size=12))
def test_it_holds_what_a_dict_holds_and_no_version_changes(drafts):
    versions = [(PersistentMap(), {})]
    for made in drafts:
        base, plain = versions[-1]
        draft, copy = base.draft(), dict(plain)
        for key, value in made:
            if value is None:
                assert draft.pop(key, None) == copy.pop(key, None)
            else:
                draft[key] = copy[key] = value
            assert (key in draft, draft.get(key), len(draft)) == (
                key in copy,
                copy.get(key),
                len(copy),
            )
        assert dict(draft) == dict(draft.items()) == copy
        versions.append((draft.finish(), copy))
    for version, plain in versions:
        assert version == plain
        assert dict(version.items()) == {key: version[key] for key in version} == plain
        assert len(version) == len(plain)


@given(st.integers(0, 3000))
def test_a_change_copies_about_the_root_of_the_whole(size):
    whole = PersistentMap((n << 8 | 1, n) for n in range(size))
    draft = whole.draft()
    draft[1] = -1
    changed = draft.finish()
    shared = {id(bucket) for bucket in whole._buckets} & {id(b) for b in changed._buckets}
    root = size**0.5
    assert len(shared) >= len(changed._buckets) - 1 or len(whole._buckets) != len(changed._buckets)
    assert max(len(changed._buckets), *map(len, changed._buckets), 1) <= 6 * root + 4
    assert whole.get(1) == (0 if size else None)


def test_no_change_is_the_same_map():
    whole = PersistentMap({1: 2})
    assert whole.draft().finish() is whole

"""The Merkle tree against the reference roots of certificate transparency, against the RFC's recursion, and against liars."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import LogProofError
from crypto.merkle import (
    EMPTY_ROOT,
    MAX_PROOF_HASHES,
    Frontier,
    complete_subtrees,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# certificate-transparency, merkle_tree_test: the eight leaves and the roots of the trees of the first 1 to 8 of them.
LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH, as RFC 9162, 2.1.1 says it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH, as RFC 9162, 2.1.3.1 says it."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), tree_hash(leaves[k:])]
    return [*path(m - k, leaves[k:]), tree_hash(leaves[:k])]


def subproof(m: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    """SUBPROOF, as RFC 9162, 2.1.4.1 says it."""
    if m == len(leaves):
        return [] if complete else [tree_hash(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], complete), tree_hash(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), tree_hash(leaves[:k])]


class Tree:
    """Stored hashes of complete subtrees, and how often they were asked for."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes, self.asked, self.frontier = {}, 0, Frontier()
        for leaf in leaves:
            for level, index, value in self.frontier.append(leaf_hash(leaf)):
                assert (level, index) not in self.nodes
                self.nodes[level, index] = value

    def node(self, level: int, index: int) -> bytes:
        self.asked += 1
        return self.nodes[level, index]


def some(size: int) -> list[bytes]:
    return [str(i).encode() for i in range(size)]


def test_the_reference_roots_of_certificate_transparency():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for size, root in enumerate(ROOTS, start=1):
        assert Tree(LEAVES[:size]).frontier.root().hex() == root
        assert tree_hash(LEAVES[:size]).hex() == root


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_the_reference_inclusion_proofs(index, size, proof):
    made = inclusion_proof(index, size, Tree(LEAVES[:size]).node)
    assert [one.hex() for one in made] == proof
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, made, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(
    ("first", "second", "proof"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_the_reference_consistency_proofs(first, second, proof):
    made = consistency_proof(first, second, Tree(LEAVES[:second]).node)
    assert [one.hex() for one in made] == proof
    verify_consistency(first, second, bytes.fromhex(ROOTS[first - 1]), bytes.fromhex(ROOTS[second - 1]), made)


def test_every_proof_of_every_small_tree_is_the_one_of_the_rfc():
    leaves = some(34)
    for size in range(1, len(leaves) + 1):
        tree, root = Tree(leaves[:size]), tree_hash(leaves[:size])
        assert tree.frontier.root() == root
        assert Frontier.of(size, tree.node).root() == root
        for index in range(size):
            proof = inclusion_proof(index, size, tree.node)
            assert proof == path(index, leaves[:size])
            verify_inclusion(leaf_hash(leaves[index]), index, size, proof, root)
        for first in range(1, size + 1):
            proof = consistency_proof(first, size, tree.node)
            assert proof == subproof(first, leaves[:size], True)
            verify_consistency(first, size, tree_hash(leaves[:first]), root, proof)


@given(st.integers(1, 700), st.data())
def test_proofs_of_larger_trees_are_those_of_the_rfc(size, data):
    leaves = some(size)
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    tree, root = Tree(leaves), tree_hash(leaves)
    assert inclusion_proof(index, size, tree.node) == path(index, leaves)
    verify_inclusion(leaf_hash(leaves[index]), index, size, path(index, leaves), root)
    assert consistency_proof(first, size, tree.node) == subproof(first, leaves, True)
    verify_consistency(first, size, tree_hash(leaves[:first]), root, subproof(first, leaves, True))


def mutations(proof: list[bytes]) -> list[list[bytes]]:
    """Proofs that differ from this one: a bit, a hash more or less anywhere, two swapped, short and long hashes."""
    made = [proof[:at] + proof[at + 1 :] for at in range(len(proof))]
    made += [[*proof[:at], bytes(32), *proof[at:]] for at in range(len(proof) + 1)]
    made += [[*proof[:at], proof[at], *proof[at:]] for at in range(len(proof))]
    for at, one in enumerate(proof):
        made += [[*proof[:at], other, *proof[at + 1 :]] for other in (flip(one), one[:31], one + b"\x00", b"")]
        made.append([*proof[:at], *reversed(proof[at : at + 2]), *proof[at + 2 :]])
    return [one for one in made if one != proof]


def flip(value: bytes) -> bytes:
    return bytes((value[0] ^ 1, *value[1:]))


def test_every_mutated_inclusion_proof_is_refused():
    leaves = some(13)
    for size in range(1, 14):
        tree, root = Tree(leaves[:size]), tree_hash(leaves[:size])
        for index in range(size):
            leaf, proof = leaf_hash(leaves[index]), inclusion_proof(index, size, tree.node)
            claims = [(leaf, index, size, bad, root) for bad in mutations(proof)]
            claims += [(leaf, other, size, proof, root) for other in range(-1, 17) if other != index]
            claims += [(leaf, index, size, proof, flip(root)), (flip(leaf), index, size, proof, root)]
            claims += [(leaf, index, size, proof, root[:31]), (leaf[:31], index, size, proof, root)]
            for claim in claims:
                with pytest.raises(LogProofError):
                    verify_inclusion(*claim)


def test_every_mutated_consistency_proof_is_refused():
    leaves = some(12)
    for second in range(1, 13):
        tree, root = Tree(leaves[:second]), tree_hash(leaves[:second])
        for first in range(1, second + 1):
            old, proof = tree_hash(leaves[:first]), consistency_proof(first, second, tree.node)
            claims = [(first, second, old, root, bad) for bad in mutations(proof)]
            claims += [(first, second, flip(old), root, proof), (first, second, old, flip(root), proof)]
            claims += [
                (0, second, old, root, proof),
                (-1, second, old, root, proof),
                (second + 1, second, old, root, proof),
            ]
            claims += [(other, second, old, root, proof) for other in range(1, second + 1) if other != first]
            for claim in claims:
                with pytest.raises(LogProofError):
                    verify_consistency(*claim)


def test_an_inner_node_cannot_be_passed_off_as_a_leaf():
    tree = Tree(LEAVES)
    inside = tree.nodes[1, 0]
    proof = inclusion_proof(0, 8, tree.node)[1:]
    assert node_hash(node_hash(inside, proof[0]), proof[1]) == tree.frontier.root()
    with pytest.raises(LogProofError):
        verify_inclusion(inside, 0, 8, proof, tree.frontier.root())
    joined = tree.nodes[0, 0] + tree.nodes[0, 1]
    assert leaf_hash(joined) != inside


def test_proofs_of_a_huge_tree_ask_for_few_nodes():
    asked = []

    def node(level: int, index: int) -> bytes:
        assert (index + 1) << level <= size
        asked.append((level, index))
        return hashlib.sha256(f"{level} {index}".encode()).digest()

    for size in (5_000_001, 2**40 - 1, 2**53 - 1):
        limit = 2 * size.bit_length()
        for first in (1, 3, size // 3, size // 2 + 1, size - 1):
            for make in (inclusion_proof, consistency_proof):
                asked.clear()
                assert len(make(first, size, node)) <= MAX_PROOF_HASHES
                assert 0 < len(asked) <= limit


def test_what_lies_outside_the_tree_has_no_proof():
    tree = Tree(some(4))
    for index, size in ((4, 4), (-1, 4), (0, 0), (0, 2**53)):
        with pytest.raises(LogProofError):
            inclusion_proof(index, size, tree.node)
    for first, second in ((0, 4), (5, 4), (-1, 4), (1, 2**53)):
        with pytest.raises(LogProofError):
            consistency_proof(first, second, tree.node)


def test_a_tree_is_made_of_one_complete_subtree_for_each_bit_of_its_size():
    assert list(complete_subtrees(0)) == []
    assert list(complete_subtrees(13)) == [(3, 0), (2, 2), (0, 12)]

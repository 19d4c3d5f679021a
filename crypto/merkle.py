"""The Merkle tree of RFC 9162, sections 2.1.1 to 2.1.4: tree hash, inclusion proofs, consistency proofs, both directions. PURE.

SHA-256. A leaf is hashed behind a zero byte, two nodes behind a one byte, so that no inner node can be passed off as a leaf; the
hash of no leaves is that of the empty string. A tree of n leaves splits at the largest power of two below n.

A proof is made from stored hashes of complete subtrees: `node(level, index)` is the hash over the 2**level leaves from
index * 2**level on. Every subtree that a proof or a root needs is complete or splits into O(log n) complete ones, so a tree of
millions of leaves is never read whole, and what is stored is never rewritten: a complete subtree stays as it is for ever.

Verifying, in this order: sizes and indices in range; every hash 32 bytes; the length of the proof exactly the one that index
and size demand; the hashes joined from the leaf up as the tree's shape says; the result compared with the root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from crypto.canonical import MAX_INTEGER
from crypto.errors import LogProofError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_TREE_SIZE = MAX_INTEGER
MAX_PROOF_HASHES = MAX_TREE_SIZE.bit_length() + 1  # a consistency proof has one hash more than the tree has levels

Node = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def complete_subtrees(size: int) -> Iterator[tuple[int, int]]:
    """(level, index) of the complete subtrees that make up a tree, from the left: one for each bit of its size."""
    at = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            yield level, at >> level
            at += 1 << level


class Frontier:
    """The right edge of a growing tree: all that is needed to append leaves and tell roots, however large the tree is."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []  # of the complete subtrees, largest first

    @classmethod
    def of(cls, size: int, node: Node) -> Frontier:
        """The edge of a stored tree."""
        frontier = cls()
        frontier.size = size
        frontier._subtrees = [node(level, index) for level, index in complete_subtrees(size)]
        return frontier

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf by its hash; returns (level, index, hash) of the subtrees that it completes, the leaf first."""
        done, current = [(0, self.size, leaf)], leaf
        for level in range(1, (self.size ^ (self.size + 1)).bit_length()):
            current = node_hash(self._subtrees.pop(), current)
            done.append((level, self.size >> level, current))
        self._subtrees.append(current)
        self.size += 1
        return done

    def root(self) -> bytes:
        """The hash of the whole tree."""
        if not self._subtrees:
            return EMPTY_ROOT
        *rest, current = self._subtrees
        for left in reversed(rest):
            current = node_hash(left, current)
        return current


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """PATH(index, D[size]) (RFC 9162, 2.1.3.1): the siblings from the leaf up."""
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise LogProofError(f"There is no leaf {index} in a tree of {size}.")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(start, middle, node))
            start = middle
    return path[::-1]


def consistency_proof(first: int, second: int, node: Node) -> list[bytes]:
    """PROOF(first, D[second]) (RFC 9162, 2.1.4.1): that the tree of `second` leaves begins with the tree of `first`."""
    if not 1 <= first <= second <= MAX_TREE_SIZE:
        raise LogProofError(f"There is no proof from a tree of {first} to one of {second}.")
    start, end, path, known = 0, second, [], True
    while end != first:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(start, middle, node))
            start, known = middle, False
    if not known:  # the first tree's right part is not its root, so its hash is part of the proof
        path.append(_subtree(start, end, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """That the leaf with this hash stands at `index` in the tree (RFC 9162, 2.1.3.2), or LogProofError."""
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise LogProofError(f"There is no leaf {index} in a tree of {size}.")
    _check_hashes(leaf, root, *proof)
    # Where the last node of a level has no sibling it rises unjoined: below the highest bit in which index and last leaf
    # differ every level joins, above it only those where the index turns right.
    inner = (index ^ (size - 1)).bit_length()
    if len(proof) != inner + (index >> inner).bit_count():
        raise LogProofError("The inclusion proof does not have the length that position and size demand.")
    current = leaf
    for level, sibling in enumerate(proof[:inner]):
        current = node_hash(sibling, current) if index >> level & 1 else node_hash(current, sibling)
    for sibling in proof[inner:]:
        current = node_hash(sibling, current)
    if current != root:
        raise LogProofError("The inclusion proof does not lead to the root of the tree.")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """That the second tree only appends to the first (RFC 9162, 2.1.4.2), or LogProofError."""
    if not 1 <= first <= second <= MAX_TREE_SIZE:
        raise LogProofError(f"There is no proof from a tree of {first} to one of {second}.")
    _check_hashes(first_root, second_root, *proof)
    if first == second:
        if proof or first_root != second_root:
            raise LogProofError("Two trees of the same size are not the same tree.")
        return
    # The last complete subtree of the first tree: its level is the number of trailing zeros, its index what is above them.
    level = (first & -first).bit_length() - 1
    index, last = first - 1 >> level, second - 1 >> level
    inner = (index ^ last).bit_length()
    seeds = [first_root] if index == 0 else []  # a first tree that is one complete subtree is its own seed
    if len(proof) != inner + (index >> inner).bit_count() + 1 - len(seeds):
        raise LogProofError("The consistency proof does not have the length that the two sizes demand.")
    seed, *siblings = (*seeds, *proof)
    old = new = seed
    for step, sibling in enumerate(siblings[:inner]):
        if index >> step & 1:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    for sibling in siblings[inner:]:
        old, new = node_hash(sibling, old), node_hash(sibling, new)
    if old != first_root or new != second_root:
        raise LogProofError("The consistency proof does not lead from the one root to the other.")


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _subtree(start: int, end: int, node: Node) -> bytes:
    """MTH(D[start:end]) of a subtree that the recursion of the RFC meets: its start is a multiple of every split inside it."""
    size = end - start
    hashes = [node(level, (start >> level) + index) for level, index in complete_subtrees(size)]
    *rest, current = hashes
    for left in reversed(rest):
        current = node_hash(left, current)
    return current


def _check_hashes(*hashes: bytes) -> None:
    if any(len(one) != HASH_BYTES for one in hashes):
        raise LogProofError("A hash in the proof is not 32 bytes long.")

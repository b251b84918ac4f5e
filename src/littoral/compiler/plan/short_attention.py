"""Attention in 16-bit whole numbers: the steps of `attention`, with keys and values rounded once a head."""

from littoral.compiler.ir.graph import Node
from littoral.compiler.ir.ops import ShortAttention
from littoral.compiler.ir.shorts import products_limit, shares_chunk, values_limit
from littoral.compiler.kernels import ShortGemm, ShortKeys, ShortRows, ShortShares, ShortValues
from littoral.compiler.plan.attention import AttentionPlan, Moved, further
from littoral.compiler.plan.products import FLOAT_BYTES
from littoral.compiler.plan.steps import Argument, Part, Ring, Scratch, Step

__all__ = ["lower_short_attention"]


def lower_short_attention(node: Node, op: ShortAttention) -> list[Step]:
    return _Plan(node, op).steps()


class _Plan(AttentionPlan):
    def steps(self) -> list[Step]:
        limit, chunk = products_limit(self.depth), shares_chunk(self.keys)
        self.limit = limit
        self.made_keys = ShortKeys(self.keys, self.depth, self.k.strides_bytes[-1], limit)
        self.made_values = ShortValues(self.keys, self.width, self.v.strides_bytes[-2], chunk, values_limit(chunk))
        self.key_panels, self.key_scale = self._room(self.made_keys.out_bytes), self._room(FLOAT_BYTES)
        self.values_held = self._room(self.made_values.out_bytes)
        self.value_scale = self._room(self.made_values.fours * 4 * FLOAT_BYTES)
        rows = self._rows_of(self.block)
        self.queries_held, self.query_scale = (
            self._room(self.block * rows.row_bytes),
            self._room(FLOAT_BYTES * self.block),
        )
        self.scores = self._room(FLOAT_BYTES * self.block * self.keys)
        shares = ShortShares(self.block, self.keys)
        self.shares, self.share = self._room(self.block * shares.row_bytes), self._room(FLOAT_BYTES * self.block)
        made = [
            self.step(self.made_keys, self.moved[1], self.key_panels, self.key_scale),
            self.step(self.made_values, self.moved[2], self.values_held, self.value_scale),
        ]
        blocks, rest = divmod(self.queries, self.block)
        made += self._block_steps(self.block, 0, Ring(blocks))
        return made + (self._block_steps(rest, blocks * self.block, Ring(1)) if rest else [])

    def _room(self, size: int) -> Moved:
        return Moved(Scratch(size), self.still)

    def _rows_of(self, count: int) -> ShortRows:
        return ShortRows(count, self.depth, self.moved[0].query, self.limit)

    def _block_steps(self, count: int, first: int, ring: Ring) -> list[Step]:
        """Everything for `count` queries from `first` on, as many such blocks as the ring has."""
        queries, _, _, out, *masks = (further(m, first * m.query) for m in self.moved)
        rows, shares = self._rows_of(count), ShortShares(count, self.keys)
        products = ShortGemm(count, rows.row_bytes // 2, self.keys, rows.row_bytes, FLOAT_BYTES * self.keys)
        scores = self.scores
        steps = [
            self.step(rows, queries, self.key_scale, self.queries_held, self.query_scale, ring=ring, count=count),
            self.step(products, self.queries_held, self.key_panels, self.query_scale, scores, ring=ring, count=count),
        ]
        if self.op.score is not None:
            steps.append(self.step(self.map(self.op.score, count), scores, *masks, scores, ring=ring, count=count))
        steps.append(self.step(shares, scores, self.shares, self.share, ring=ring, count=count))
        chunk = self.made_values.chunk
        for start in range(0, self.keys, chunk):
            depth = -(-min(chunk, self.keys - start) // 8) * 8
            gemm = ShortGemm(
                count,
                depth,
                self.width,
                shares.row_bytes,
                self.moved[3].query,
                by_column=True,
                accumulate=start > 0,
            )
            left = _within(self.shares, 2 * start)
            right = _within(self.values_held, start // chunk * self.made_values.chunk_bytes)
            steps.append(self.step(gemm, left, right, self.share, self.value_scale, out, ring=ring, count=count))
        return steps


def _within(moved: Moved, offset: int) -> Moved:
    argument: Argument = moved.argument
    if not offset:
        return moved
    assert isinstance(argument, Scratch)
    return moved._replace(argument=Part(argument, offset))

"""The instructions: one table for the encoder, the checker, the text printer and the tests.

WebAssembly core specification, 5.4 and 7.3, with the proposals for relaxed SIMD and threads. A signature is
`pops>pushes`, one letter per operand: i = i32, l = i64, f = f32, d = f64, v = v128. Immediates, one letter each:
m = memory argument (alignment, offset), n = lane, u = index, s = 16 shuffle lanes, c = 16 bytes,
i l f d = a constant, b = block type, z = a zero byte.
"""

from typing import NamedTuple

__all__ = ["OPCODES", "Op"]


class Op(NamedTuple):
    """One instruction: its code, immediates, operands from the stack, results, and natural alignment (log2)."""

    code: bytes
    immediates: str
    pops: str
    pushes: str
    align: int = 0


def _code(prefix: bytes, number: int) -> bytes:
    """A plain instruction is one byte; after a prefix the number is LEB128."""
    if not prefix or number < 0x80:
        return prefix + bytes([number])
    return prefix + bytes([number & 0x7F | 0x80, number >> 7])


def _rows(prefix: bytes, text: str) -> dict[str, Op]:
    """Rows `code name signature [immediates [align]]`; the code is decimal, after the prefix."""
    table = {}
    for line in text.strip().splitlines():
        code, name, signature, *rest = line.split()
        pops, pushes = signature.split(">")
        immediates = rest[0] if rest and rest[0] != "-" else ""
        table[name] = Op(_code(prefix, int(code)), immediates, pops, pushes, int(rest[1]) if len(rest) > 1 else 0)
    return table


def _run(prefix: bytes, first: int, shape: str, names: str, signature: str, immediates: str = "") -> dict[str, Op]:
    """Instructions of one shape and signature with consecutive codes; `-` leaves a code out."""
    pops, pushes = signature.split(">")
    return {
        f"{shape}.{name}": Op(_code(prefix, first + i), immediates, pops, pushes)
        for i, name in enumerate(names.split())
        if name != "-"
    }


_PLAIN = b""
_FC = b"\xfc"
_FD = b"\xfd"
_FE = b"\xfe"
_INT_COMPARE = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
_FLOAT_COMPARE = "eq ne lt gt le ge"
_INT_BINARY = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"
_FLOAT_UNARY = "abs neg ceil floor trunc nearest sqrt"
_FLOAT_BINARY = "add sub mul div min max copysign"

_CONTROL = """
0 unreachable >
1 nop >
2 block > b
3 loop > b
4 if i> b
5 else >
11 end >
12 br > u
13 br_if i> u
15 return >
16 call > u
26 drop >
27 select >
32 local.get > u
33 local.set > u
34 local.tee > u
35 global.get > u
36 global.set > u
63 memory.size >i z
64 memory.grow i>i z
65 i32.const >i i
66 i64.const >l l
67 f32.const >f f
68 f64.const >d d
"""

_MEMORY = """
40 i32.load i>i m 2
41 i64.load i>l m 3
42 f32.load i>f m 2
43 f64.load i>d m 3
44 i32.load8_s i>i m 0
45 i32.load8_u i>i m 0
46 i32.load16_s i>i m 1
47 i32.load16_u i>i m 1
48 i64.load8_s i>l m 0
49 i64.load8_u i>l m 0
50 i64.load16_s i>l m 1
51 i64.load16_u i>l m 1
52 i64.load32_s i>l m 2
53 i64.load32_u i>l m 2
54 i32.store ii> m 2
55 i64.store il> m 3
56 f32.store if> m 2
57 f64.store id> m 3
58 i32.store8 ii> m 0
59 i32.store16 ii> m 1
60 i64.store8 il> m 0
61 i64.store16 il> m 1
62 i64.store32 il> m 2
"""

_CONVERT = """
167 i32.wrap_i64 l>i
168 i32.trunc_f32_s f>i
169 i32.trunc_f32_u f>i
170 i32.trunc_f64_s d>i
171 i32.trunc_f64_u d>i
172 i64.extend_i32_s i>l
173 i64.extend_i32_u i>l
174 i64.trunc_f32_s f>l
175 i64.trunc_f32_u f>l
176 i64.trunc_f64_s d>l
177 i64.trunc_f64_u d>l
178 f32.convert_i32_s i>f
179 f32.convert_i32_u i>f
180 f32.convert_i64_s l>f
181 f32.convert_i64_u l>f
182 f32.demote_f64 d>f
183 f64.convert_i32_s i>d
184 f64.convert_i32_u i>d
185 f64.convert_i64_s l>d
186 f64.convert_i64_u l>d
187 f64.promote_f32 f>d
188 i32.reinterpret_f32 f>i
189 i64.reinterpret_f64 d>l
190 f32.reinterpret_i32 i>f
191 f64.reinterpret_i64 l>d
192 i32.extend8_s i>i
193 i32.extend16_s i>i
194 i64.extend8_s l>l
195 i64.extend16_s l>l
196 i64.extend32_s l>l
"""

_SATURATING_AND_BULK = """
0 i32.trunc_sat_f32_s f>i
1 i32.trunc_sat_f32_u f>i
2 i32.trunc_sat_f64_s d>i
3 i32.trunc_sat_f64_u d>i
4 i64.trunc_sat_f32_s f>l
5 i64.trunc_sat_f32_u f>l
6 i64.trunc_sat_f64_s d>l
7 i64.trunc_sat_f64_u d>l
8 memory.init iii> uz
9 data.drop > u
10 memory.copy iii> zz
11 memory.fill iii> z
"""

_VECTOR = """
0 v128.load i>v m 4
1 v128.load8x8_s i>v m 3
2 v128.load8x8_u i>v m 3
3 v128.load16x4_s i>v m 3
4 v128.load16x4_u i>v m 3
5 v128.load32x2_s i>v m 3
6 v128.load32x2_u i>v m 3
7 v128.load8_splat i>v m 0
8 v128.load16_splat i>v m 1
9 v128.load32_splat i>v m 2
10 v128.load64_splat i>v m 3
11 v128.store iv> m 4
12 v128.const >v c
13 i8x16.shuffle vv>v s
14 i8x16.swizzle vv>v
15 i8x16.splat i>v
16 i16x8.splat i>v
17 i32x4.splat i>v
18 i64x2.splat l>v
19 f32x4.splat f>v
20 f64x2.splat d>v
21 i8x16.extract_lane_s v>i n
22 i8x16.extract_lane_u v>i n
23 i8x16.replace_lane vi>v n
24 i16x8.extract_lane_s v>i n
25 i16x8.extract_lane_u v>i n
26 i16x8.replace_lane vi>v n
27 i32x4.extract_lane v>i n
28 i32x4.replace_lane vi>v n
29 i64x2.extract_lane v>l n
30 i64x2.replace_lane vl>v n
31 f32x4.extract_lane v>f n
32 f32x4.replace_lane vf>v n
33 f64x2.extract_lane v>d n
34 f64x2.replace_lane vd>v n
77 v128.not v>v
78 v128.and vv>v
79 v128.andnot vv>v
80 v128.or vv>v
81 v128.xor vv>v
82 v128.bitselect vvv>v
83 v128.any_true v>i
84 v128.load8_lane iv>v mn 0
85 v128.load16_lane iv>v mn 1
86 v128.load32_lane iv>v mn 2
87 v128.load64_lane iv>v mn 3
88 v128.store8_lane iv> mn 0
89 v128.store16_lane iv> mn 1
90 v128.store32_lane iv> mn 2
91 v128.store64_lane iv> mn 3
92 v128.load32_zero i>v m 2
93 v128.load64_zero i>v m 3
94 f32x4.demote_f64x2_zero v>v
95 f64x2.promote_low_f32x4 v>v
99 i8x16.all_true v>i
100 i8x16.bitmask v>i
101 i8x16.narrow_i16x8_s vv>v
102 i8x16.narrow_i16x8_u vv>v
107 i8x16.shl vi>v
108 i8x16.shr_s vi>v
109 i8x16.shr_u vi>v
124 i16x8.extadd_pairwise_i8x16_s v>v
125 i16x8.extadd_pairwise_i8x16_u v>v
126 i32x4.extadd_pairwise_i16x8_s v>v
127 i32x4.extadd_pairwise_i16x8_u v>v
130 i16x8.q15mulr_sat_s vv>v
131 i16x8.all_true v>i
132 i16x8.bitmask v>i
133 i16x8.narrow_i32x4_s vv>v
134 i16x8.narrow_i32x4_u vv>v
139 i16x8.shl vi>v
140 i16x8.shr_s vi>v
141 i16x8.shr_u vi>v
163 i32x4.all_true v>i
164 i32x4.bitmask v>i
171 i32x4.shl vi>v
172 i32x4.shr_s vi>v
173 i32x4.shr_u vi>v
186 i32x4.dot_i16x8_s vv>v
195 i64x2.all_true v>i
196 i64x2.bitmask v>i
203 i64x2.shl vi>v
204 i64x2.shr_s vi>v
205 i64x2.shr_u vi>v
248 i32x4.trunc_sat_f32x4_s v>v
249 i32x4.trunc_sat_f32x4_u v>v
250 f32x4.convert_i32x4_s v>v
251 f32x4.convert_i32x4_u v>v
252 i32x4.trunc_sat_f64x2_s_zero v>v
253 i32x4.trunc_sat_f64x2_u_zero v>v
254 f64x2.convert_low_i32x4_s v>v
255 f64x2.convert_low_i32x4_u v>v
256 i8x16.relaxed_swizzle vv>v
257 i32x4.relaxed_trunc_f32x4_s v>v
258 i32x4.relaxed_trunc_f32x4_u v>v
259 i32x4.relaxed_trunc_f64x2_s_zero v>v
260 i32x4.relaxed_trunc_f64x2_u_zero v>v
261 f32x4.relaxed_madd vvv>v
262 f32x4.relaxed_nmadd vvv>v
263 f64x2.relaxed_madd vvv>v
264 f64x2.relaxed_nmadd vvv>v
265 i8x16.relaxed_laneselect vvv>v
266 i16x8.relaxed_laneselect vvv>v
267 i32x4.relaxed_laneselect vvv>v
268 i64x2.relaxed_laneselect vvv>v
269 f32x4.relaxed_min vv>v
270 f32x4.relaxed_max vv>v
271 f64x2.relaxed_min vv>v
272 f64x2.relaxed_max vv>v
273 i16x8.relaxed_q15mulr_s vv>v
274 i16x8.relaxed_dot_i8x16_i7x16_s vv>v
275 i32x4.relaxed_dot_i8x16_i7x16_add_s vvv>v
"""

_ATOMIC = """
0 memory.atomic.notify ii>i m 2
1 memory.atomic.wait32 iil>i m 2
3 atomic.fence > z
16 i32.atomic.load i>i m 2
23 i32.atomic.store ii> m 2
30 i32.atomic.rmw.add ii>i m 2
72 i32.atomic.rmw.cmpxchg iii>i m 2
"""

OPCODES: dict[str, Op] = (
    _rows(_PLAIN, _CONTROL)
    | _rows(_PLAIN, _MEMORY)
    | _run(_PLAIN, 69, "i32", "eqz", "i>i")
    | _run(_PLAIN, 70, "i32", _INT_COMPARE, "ii>i")
    | _run(_PLAIN, 80, "i64", "eqz", "l>i")
    | _run(_PLAIN, 81, "i64", _INT_COMPARE, "ll>i")
    | _run(_PLAIN, 91, "f32", _FLOAT_COMPARE, "ff>i")
    | _run(_PLAIN, 97, "f64", _FLOAT_COMPARE, "dd>i")
    | _run(_PLAIN, 103, "i32", "clz ctz popcnt", "i>i")
    | _run(_PLAIN, 106, "i32", _INT_BINARY, "ii>i")
    | _run(_PLAIN, 121, "i64", "clz ctz popcnt", "l>l")
    | _run(_PLAIN, 124, "i64", _INT_BINARY, "ll>l")
    | _run(_PLAIN, 139, "f32", _FLOAT_UNARY, "f>f")
    | _run(_PLAIN, 146, "f32", _FLOAT_BINARY, "ff>f")
    | _run(_PLAIN, 153, "f64", _FLOAT_UNARY, "d>d")
    | _run(_PLAIN, 160, "f64", _FLOAT_BINARY, "dd>d")
    | _rows(_PLAIN, _CONVERT)
    | _rows(_FC, _SATURATING_AND_BULK)
    | _rows(_FD, _VECTOR)
    | _rows(_FE, _ATOMIC)
    | _run(_FD, 35, "i8x16", _INT_COMPARE, "vv>v")
    | _run(_FD, 45, "i16x8", _INT_COMPARE, "vv>v")
    | _run(_FD, 55, "i32x4", _INT_COMPARE, "vv>v")
    | _run(_FD, 65, "f32x4", _FLOAT_COMPARE, "vv>v")
    | _run(_FD, 71, "f64x2", _FLOAT_COMPARE, "vv>v")
    | _run(_FD, 96, "i8x16", "abs neg popcnt", "v>v")
    | _run(_FD, 103, "f32x4", "ceil floor trunc nearest", "v>v")
    | _run(_FD, 110, "i8x16", "add add_sat_s add_sat_u sub sub_sat_s sub_sat_u", "vv>v")
    | _run(_FD, 116, "f64x2", "ceil floor - - - - trunc", "v>v")
    | _run(_FD, 118, "i8x16", "min_s min_u max_s max_u - avgr_u", "vv>v")
    | _run(_FD, 128, "i16x8", "abs neg", "v>v")
    | _run(_FD, 135, "i16x8", "extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u", "v>v")
    | _run(_FD, 142, "i16x8", "add add_sat_s add_sat_u sub sub_sat_s sub_sat_u", "vv>v")
    | _run(_FD, 148, "f64x2", "nearest", "v>v")
    | _run(_FD, 149, "i16x8", "mul min_s min_u max_s max_u - avgr_u", "vv>v")
    | _run(_FD, 156, "i16x8", "extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u", "vv>v")
    | _run(_FD, 160, "i32x4", "abs neg", "v>v")
    | _run(_FD, 167, "i32x4", "extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u", "v>v")
    | _run(_FD, 174, "i32x4", "add - - sub - - - mul min_s min_u max_s max_u", "vv>v")
    | _run(_FD, 188, "i32x4", "extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u", "vv>v")
    | _run(_FD, 192, "i64x2", "abs neg", "v>v")
    | _run(_FD, 199, "i64x2", "extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u", "v>v")
    | _run(_FD, 206, "i64x2", "add - - sub - - - mul eq ne lt_s gt_s le_s ge_s", "vv>v")
    | _run(_FD, 220, "i64x2", "extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u", "vv>v")
    | _run(_FD, 224, "f32x4", "abs neg - sqrt", "v>v")
    | _run(_FD, 228, "f32x4", "add sub mul div min max pmin pmax", "vv>v")
    | _run(_FD, 236, "f64x2", "abs neg - sqrt", "v>v")
    | _run(_FD, 240, "f64x2", "add sub mul div min max pmin pmax", "vv>v")
)

"""Vector primitives: pixels in the lanes of the processor's vector registers.

A few inner loops carry all of mrdist's arithmetic. Written as plain loops they leave the accumulators in memory;
as numba intrinsics they keep dozens of them in registers. This module holds their building blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numba
from numba.core import codegen, config
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

from mrdist._kernels.apart import compile_apart, is_apart

Function = TypeVar("Function", bound=Callable[..., Any])

# What numba compiles for: the host, unless NUMBA_CPU_FEATURES names the features.
FEATURES = tuple((codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES).split(","))
X86 = llvm.get_process_triple().startswith("x86")
WIDE = "+avx512bw" in FEATURES
VECTOR_BYTES = 64 if WIDE else 32 if "+avx2" in FEATURES else 16
"""Bytes of one vector register, which are one group of lanes."""
INDEX = ir.IntType(64)


class _Compiled(FunctionCache):  # type: ignore[misc]
    """Compiled code on disk, which is loaded without numba's compiler.

    numba prepares to compile whenever it loads: it imports SciPy and its own implementations of Python and NumPy, for
    longer than a small training takes. Code that was compiled needs the runtime alone; what is not on the disk is
    compiled as ever, since the compiler prepares itself.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature, None if it is not there and this process is to compile it."""
        rtsys.initialize(target_context)
        code = self._load(sig, target_context)
        if code is None and is_apart():
            compile_apart(self._py_func, sig)
            code = self._load(sig, target_context)
        return code

    def _load(self, sig: Any, target_context: Any) -> Any:
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def jit(function: Function) -> Function:
    """Compile strictly (no fastmath), without the GIL, once per machine (cached on disk)."""
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    if not config.DISABLE_JIT:
        dispatcher._cache = _Compiled(function)  # as enable_caching() does
    return cast(Function, dispatcher)


class Emitter:
    """Short forms of LLVM code: pointers into arrays and unaligned vector loads and stores."""

    def __init__(self, context: Any, builder: Any, dtype: Any, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.align = dtype.bitwidth // 8
        self.vector = ir.VectorType(context.get_data_type(dtype), lanes)

    def at(self, start: Any, step: Any, k: int) -> Any:
        return self.builder.add(start, self.builder.mul(step, INDEX(k)))

    def constant(self, value: int, vector: Any = None) -> Any:
        vector = vector or self.vector
        return ir.Constant(vector, [value] * vector.count)

    def load(self, data: Any, index: Any) -> Any:
        pointer = self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())
        return self.builder.load(pointer, align=self.align)

    def store(self, value: Any, data: Any, index: Any) -> None:
        pointer = self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())
        self.builder.store(value, pointer, align=self.align)

    def counted_loop(
        self, count: Any, initial: Sequence[Any], step: Callable[[Any, list[Any]], list[Any]]
    ) -> list[Any]:
        """Run ``step(i, values)`` for i in 0..count-1 with ``values`` carried in registers."""
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("lanes.head")
        body = builder.append_basic_block("lanes.body")
        end = builder.append_basic_block("lanes.end")
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(INDEX)
        i.add_incoming(INDEX(0), before)
        carried = []
        for value in initial:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        builder.cbranch(builder.icmp_signed("<", i, count), body, end)
        builder.position_at_end(body)
        for phi, value in zip(carried, step(i, carried), strict=True):
            phi.add_incoming(value, builder.block)
        i.add_incoming(builder.add(i, INDEX(1)), builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        return carried


def array_data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def cases(
    builder: Any,
    value: Any,
    constants: Sequence[int],
    generate: Callable[[int], None],
    otherwise: Callable[[], None] = lambda: None,
) -> None:
    """Run the code generated for the constant that ``value`` equals at run time."""
    other, done = builder.append_basic_block("other"), builder.append_basic_block("done")
    choose = builder.switch(value, other)
    for constant in constants:
        block = builder.append_basic_block(f"case{constant}")
        choose.add_case(INDEX(constant), block)
        builder.position_at_end(block)
        generate(constant)
        builder.branch(done)
    builder.position_at_end(other)
    otherwise()
    builder.branch(done)
    builder.position_at_end(done)

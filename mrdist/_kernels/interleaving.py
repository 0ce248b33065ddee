"""Four images of bytes into lanes of 32 bits: the bytes of a pixel side by side, its channels apart."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from mrdist._kernels.dot_products import indices
from mrdist._kernels.lanes import INDEX, VECTOR_BYTES, Emitter, array_data

_BYTE = ir.IntType(8)
_LANES = VECTOR_BYTES // 4


@intrinsic
def interleave(  # type: ignore[no-untyped-def]
    typing_context,
    images, start, image_step, chosen, first, n_present, nothing, n_channels, shared, n,
    tile, tile_start, tile_step,
):  # fmt: skip
    """Pack ``n`` pixels of four images, as signed bytes, and return whether this could be done with whole vectors.

    Byte k of lane ``tile_start + group * tile_step + pixel`` is item 4 group + k of the images' channels, one image
    after the other, where these are ``shared``, and channel ``group`` of image k otherwise. Image k is ``chosen[first +
    k]``, whose pixels start at ``images[start + image_step * chosen[first + k]]``; from ``n_present`` on it is
    ``nothing``.
    """
    i64 = types.int64
    signature = types.boolean(images, i64, i64, chosen, i64, i64, nothing, i64, types.boolean, i64, tile, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if sig.args[0].dtype != types.uint8:
            return context.get_constant(types.boolean, False)
        images_data, chosen_data, nothing_data, tile_data = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 6, 10)
        )
        _, start, image_step, _, first, n_present, _, n_channels, shared, n, _, tile_start, tile_step = args
        tile_data = builder.bitcast(tile_data, ir.IntType(32).as_pointer())
        emit = Emitter(context, builder, types.int32, _LANES)
        pointers = []
        for k in range(4):
            is_present = builder.icmp_signed("<", INDEX(k), n_present)
            place = builder.select(is_present, builder.add(first, INDEX(k)), first)
            image = builder.load(builder.gep(chosen_data, [place]))
            pixels = builder.gep(images_data, [builder.add(start, builder.mul(image, image_step))])
            pointers.append(builder.select(is_present, pixels, nothing_data))
        before = builder.block
        done = builder.append_basic_block("lanes.done")
        pattern = builder.add(builder.mul(n_channels, INDEX(2)), builder.zext(shared, INDEX))
        enough = builder.icmp_signed(">=", n, INDEX(_LANES))
        choose = builder.switch(builder.select(enough, pattern, INDEX(0)), done)
        ends = []
        for channels, together in ((1, True), (3, True), (3, False)):
            block = builder.append_basic_block(f"lanes.{channels}")
            choose.add_case(INDEX(2 * channels + together), block)
            builder.position_at_end(block)
            last = builder.sub(n, INDEX(_LANES))

            def step(
                i: Any, _: list[Any], channels: int = channels, together: bool = together, last: Any = last
            ) -> list[Any]:
                pixel = builder.mul(i, INDEX(_LANES))
                # the last vector ends with the last pixel, and so repeats some of those before
                pixel = builder.select(builder.icmp_signed("<", pixel, last), pixel, last)
                pixels = ir.VectorType(_BYTE, _LANES * channels)
                read = []
                for pointer in pointers:
                    place = builder.gep(pointer, [builder.mul(pixel, INDEX(channels))])
                    read.append(builder.load(builder.bitcast(place, pixels.as_pointer()), align=1))
                for group in range(channels):
                    items = [divmod(4 * group + k, channels) if together else (k, group) for k in range(4)]
                    packed = builder.bitcast(_packed(builder, read, items, channels), emit.vector)
                    signed = builder.xor(packed, emit.constant(0x80808080))
                    emit.store(signed, tile_data, builder.add(emit.at(tile_start, tile_step, group), pixel))
                return []

            emit.counted_loop(builder.sdiv(builder.add(n, INDEX(_LANES - 1)), INDEX(_LANES)), [], step)
            ends.append(builder.block)
            builder.branch(done)
        builder.position_at_end(done)
        packed = builder.phi(ir.IntType(1))
        for block in (before, *ends):
            packed.add_incoming(ir.IntType(1)(block is not before), block)
        return packed

    return signature, generate


def _packed(builder: Any, read: list[Any], items: list[tuple[int, int]], channels: int) -> Any:
    """Return the bytes of four items, (image, channel), of every pixel side by side."""
    pairs = [
        builder.shuffle_vector(
            read[pair],
            read[pair + 1],
            indices(
                ((image - pair) * _LANES + pixel) * channels + channel if image in (pair, pair + 1) else 0  # any
                for pixel in range(_LANES)
                for image, channel in items
            ),
        )
        for pair in (0, 2)
    ]
    mask = indices(
        4 * (image // 2 * _LANES + pixel) + k for pixel in range(_LANES) for k, (image, _) in enumerate(items)
    )
    return builder.shuffle_vector(*pairs, mask)

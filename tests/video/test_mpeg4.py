"""MPEG-4 part 2 as files have it: pictures that are not coded, two in a packet, and packets that give none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.video_clips import busy_scene, write_av

from arseg.video import VideoReader


def _not_coded(unit: bytes) -> bytes:
    """The header of a picture of 25 a second that says that the one before is shown again."""
    picture = unit[unit.rindex(b"\0\0\1\xb6") :]
    bits = "".join(f"{byte:08b}" for byte in picture[4:20])
    place = bits.index("0", 2) + 1 + 1 + 5  # whole seconds, a marker, the time in 25ths
    bits = "01" + bits[2 : place + 1] + "00"
    bits += "1" * (-len(bits) % 8)
    return picture[:4] + bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def _in_packets(path: Path, packets: list[bytes]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 25), number % 12 == 0, stream
            container.mux(packet)
    return path


def _units(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("on_error", ["raise", "resync"])
def test_pictures_that_are_not_coded_are_no_loss(tmp_path: Path, on_error: Any) -> None:
    plain = write_av(tmp_path / "plain.avi", busy_scene(24, (48, 64)), codec="mpeg4", gop=12, rate=25)
    units = _units(plain)
    units[6:8] = [_not_coded(unit) for unit in units[6:8]]
    path = _in_packets(tmp_path / "repeated.avi", units)
    expected = [*range(6), *range(8, 24)]
    with VideoReader(path, on_error=on_error) as reader:
        frames = list(reader)
        assert reader.losses == [] and reader.discontinuities == []
        assert [round(frame.time * 25) for frame in frames] == expected == [round(time * 25) for time in reader.times]
        assert len(reader) == 22 and round(reader[10].time * 25) == 12
        np.testing.assert_array_equal(reader[10].image, frames[10].image)


def _packed(units: list[bytes], inserted: bytes) -> list[bytes]:
    """Packets of DivX: a P frame and the B frame after it in one, and then one that says nothing is coded."""

    def kind(unit: bytes) -> int:
        return unit[unit.rindex(b"\0\0\1\xb6") + 4] >> 6

    packets, place = [], 0
    while place < len(units):
        unit = units[place].replace(b"\0\0\1\xb6", inserted + b"\0\0\1\xb6", 1) if place == 0 else units[place]
        if place + 1 < len(units) and kind(units[place + 1]) == 2:
            packets += [unit + units[place + 1], _not_coded(unit)]
            place += 2
        else:
            packets.append(unit)
            place += 1
    return packets


def test_times_of_packed_avi(tmp_path: Path) -> None:
    """AVI has times in the order of packets alone, and here two frames of three share one."""
    how = {"codec": "mpeg4", "b_frames": 1, "gop": 12, "rate": 25, "options": {"b_strategy": "0"}}
    plain = write_av(tmp_path / "plain.avi", busy_scene(25, (48, 64)), **how)
    path = _in_packets(tmp_path / "packed.avi", _packed(_units(plain), b"\0\0\1\xb2DivX503b1393p"))
    with VideoReader(path) as reader, VideoReader(plain) as unpacked:
        frames = list(reader)
        assert reader.discontinuities == []
        for frame, other in zip(frames, unpacked, strict=True):
            np.testing.assert_array_equal(frame.image, other.image)
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 1 / 25, atol=1e-6)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("ending", ["avi", "mkv"])
def test_a_packet_without_a_picture_moves_no_times(tmp_path: Path, ending: str, b_frames: int) -> None:
    """What is damaged gives none, and those after it keep their own."""
    how = {"codec": "mpeg4", "gop": 12, "rate": 25, "b_frames": b_frames, "options": {"b_strategy": "0"}}
    path = write_av(tmp_path / f"whole.{ending}", busy_scene(48, (48, 64)), **how)
    with VideoReader(path) as reader:
        whole = {round(frame.time * 25): frame.image for frame in reader}
    with av.open(str(path)) as source, av.open(str(tmp_path / f"damaged.{ending}"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                if number == 13:
                    spoilt = av.Packet(b"\xff" * packet.size)
                    spoilt.pts, spoilt.dts, spoilt.time_base = packet.pts, packet.dts, packet.time_base
                    packet = spoilt
                packet.stream = stream
                target.mux(packet)
    with VideoReader(tmp_path / f"damaged.{ending}", on_error="resync") as reader:
        found = {round(frame.time * 25): frame.image for frame in reader}
    after = [time for time in whole if time > 26]  # from an I frame on all is whole again
    assert set(after) <= set(found) <= set(whole) and len(after) > 18
    for time in after:
        np.testing.assert_array_equal(found[time], whole[time])

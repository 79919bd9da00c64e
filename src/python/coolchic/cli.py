"""The commands coolchic-encode, coolchic-decode and coolchic-info."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from coolchic import __version__, _decoder
from coolchic.architectures import ARCHITECTURES
from coolchic.decoder import decode, info
from coolchic.image import as_samples, check_picture, lost_metadata, to_picture
from coolchic.metrics import psnr
from coolchic.presets import PRESETS

__all__ = ["decode_main", "encode_main", "info_main", "main"]


def encode_main(argv: list[str] | None = None) -> int:
    """coolchic-encode."""
    parser = _parser("coolchic-encode", "Compress a picture by training a tiny decoder for it.")
    parser.add_argument("input", help="a picture that Pillow opens, 8-bit grey or RGB; - is stdin")
    parser.add_argument("output", help="the .cool file; - is stdout")
    aim = parser.add_mutually_exclusive_group()
    aim.add_argument(
        "--lambda",
        dest="lmbda",
        type=float,
        metavar="L",
        help="weight of the rate: 1e-4 large and good, 2e-2 small (default: 1e-3)",
    )
    aim.add_argument(
        "-q", "--quality", type=float, metavar="Q", help="0 … 100; 50 is --lambda 1e-3"
    )
    aim.add_argument("--bpp", type=float, metavar="X", help="wanted bits per pixel, at most")
    aim.add_argument("--psnr", type=float, metavar="X", help="wanted PSNR in dB")
    aim.add_argument("--size", type=int, metavar="BYTES", help="wanted size of the file, at most")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="medium")
    parser.add_argument(
        "--arch",
        default="standard",
        metavar="NAME",
        help=f"decoder: {', '.join(ARCHITECTURES)}, auto or a .toml file (default: %(default)s)",
    )
    parser.add_argument("--iterations", type=_positive, help="instead of the preset's number")
    parser.add_argument("--seed", type=int, default=0, help="fixes the result (default: 0)")
    parser.add_argument("--threads", type=_positive, help="CPU threads (default: PyTorch's)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--kernels",
        choices=("auto", "native", "torch"),
        default="auto",
        help="training in fused CPU kernels or in PyTorch (default: native where possible)",
    )
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("--quiet", action="store_true", help="no progress, no report")
    volume.add_argument("-v", "--verbose", action="store_true", help="also log evaluations")
    return _run(parser, argv, _encode)


def decode_main(argv: list[str] | None = None) -> int:
    """coolchic-decode."""
    parser = _parser("coolchic-decode", "Decompress a .cool file.")
    parser.add_argument("input", help="the .cool file; - is stdin")
    parser.add_argument("output", help="a picture, format by extension; - is stdout")
    parser.add_argument("--format", help="format as Pillow names it (default for stdout: PNG)")
    parser.add_argument("--compare", metavar="PICTURE", help="print size and PSNR against it")
    parser.add_argument("--threads", type=_count, default=0, help="0 is one per core (default)")
    parser.add_argument(
        "--cpu",
        default="auto",
        metavar="KERNELS",
        help="auto, or one of "
        + ", ".join(_decoder.kernels())
        + "; for tests: the picture is the same (default: %(default)s)",
    )
    parser.add_argument(
        "--scale",
        type=_scale,
        default=0,
        metavar="1/N",
        help="a preview of 1/N of the size, N a power of two, without decoding finer grids",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="take a file that ends within its latents; grids that are not whole count as zero",
    )
    _add_max_pixels(parser)
    return _run(parser, argv, _decode)


def info_main(argv: list[str] | None = None) -> int:
    """coolchic-info."""
    parser = _parser("coolchic-info", "Show what is in a .cool file, and what each part costs.")
    parser.add_argument("file", help="the .cool file; - is stdin")
    parser.add_argument("--json", action="store_true")
    _add_max_pixels(parser)
    return _run(parser, argv, _info)


def main(argv: list[str] | None = None) -> int:
    """``python -m coolchic.cli encode|decode|info …``"""
    commands = {"encode": encode_main, "decode": decode_main, "info": info_main}
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] not in commands:
        print(f"usage: python -m coolchic.cli {{{','.join(commands)}}} …", file=sys.stderr)
        return 2
    return commands[arguments[0]](arguments[1:])


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    return parser


def _add_max_pixels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-pixels",
        type=_count,
        default=_decoder.DEFAULT_MAX_PIXELS,
        metavar="N",
        help="refuse larger pictures (default: %(default)d)",
    )


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _scale(text: str) -> int:
    """k of 1/2^k."""
    numerator, slash, denominator = text.partition("/")
    n = int(denominator if slash else numerator)
    if (slash and int(numerator) != 1) or (not slash and n != 1) or n < 1 or n & (n - 1):
        raise argparse.ArgumentTypeError("must be 1/N, N a power of two")
    return n.bit_length() - 1


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _run(
    parser: argparse.ArgumentParser,
    argv: list[str] | None,
    command: Callable[[argparse.Namespace], None],
) -> int:
    arguments = parser.parse_args(argv)
    try:
        command(arguments)
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted, nothing written", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, MemoryError) as error:
        print(f"{parser.prog}: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _encode(arguments: argparse.Namespace) -> None:
    picture = _load_picture(arguments.input)
    _check_writable(arguments.output)
    to_stdout = arguments.output == "-"
    report = sys.stderr if to_stdout else sys.stdout
    lost = lost_metadata(picture)
    if lost and not arguments.quiet:
        print(f"coolchic-encode: not kept: {', '.join(lost)}", file=sys.stderr)

    from coolchic.encoder import encode_image  # brings in torch

    with _stop_on_interrupt() as interrupts, _progress_bar(arguments) as (on_progress, on_phase):
        encoded = encode_image(
            picture,
            lmbda=arguments.lmbda,
            quality=arguments.quality,
            bpp=arguments.bpp,
            psnr=arguments.psnr,
            size=arguments.size,
            preset=arguments.preset,
            iterations=arguments.iterations,
            seed=arguments.seed,
            threads=arguments.threads,
            device=arguments.device,
            kernels=arguments.kernels,
            arch=arguments.arch,
            on_progress=on_progress,
            on_phase=on_phase,
            should_stop=lambda: bool(interrupts),
        )
        _write(arguments.output, encoded.data)
    if encoded.stopped:
        print(
            f"coolchic-encode: stopped after {encoded.iterations} iterations; "
            "the best state so far was written",
            file=sys.stderr,
        )
    if arguments.json:
        fields = {
            "bytes": len(encoded.data),
            "bpp": encoded.bpp,
            "psnr": encoded.psnr,
            "seconds": encoded.seconds,
            "iterations": encoded.iterations,
            "estimate_bytes": encoded.estimate_bytes,
            "float_psnr": encoded.float_psnr,
            "stopped": encoded.stopped,
            "lambda": encoded.lmbda,
            "preset": arguments.preset,
            "seed": arguments.seed,
        }
        print(json.dumps(fields), file=report)
    elif not arguments.quiet:
        print(
            f"{len(encoded.data)} bytes, {encoded.bpp:.4f} bpp, {encoded.psnr:.2f} dB, "
            f"{encoded.seconds:.1f} s",
            file=report,
        )


def _load_picture(name: str):
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(sys.stdin.buffer.read()) if name == "-" else name)
        check_picture(picture)
        picture.load()
    except UnidentifiedImageError:
        raise ValueError(f"{name}: not a picture that Pillow can read") from None
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: {error}") from None
    return picture


@contextlib.contextmanager
def _stop_on_interrupt() -> Iterator[list[int]]:
    """A list that fills with the first Ctrl-C; the second raises KeyboardInterrupt."""
    interrupts: list[int] = []

    def handler(number: int, frame: object) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _progress_bar(arguments: argparse.Namespace) -> Iterator[tuple[Callable, Callable]]:
    """What is to be told of the training's progress, and of its phases."""
    if arguments.quiet or (arguments.json and not arguments.verbose):
        yield lambda progress: None, lambda phase: None
        return
    import math

    from tqdm import tqdm

    bar = shown = None

    def on_phase(phase: str) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(unit="it", dynamic_ncols=True)
        bar.set_description(phase)

    def on_progress(progress) -> None:
        nonlocal shown
        bar.total = progress.total
        losses = progress.losses
        if losses is not None and losses is not shown:
            shown = losses
            values = {
                "loss": f"{losses.total(progress.lmbda):.6f}",
                "bpp": f"{losses.bpp:.4f}",
                "PSNR": f"{-10 * math.log10(max(losses.mse, 1e-10)):.2f}",
            }
            bar.set_postfix(values, refresh=False)
            if arguments.verbose:
                text = ", ".join(f"{key} {value}" for key, value in values.items())
                bar.write(f"iteration {progress.iteration}: {text}", file=sys.stderr)
        bar.update(progress.iteration - bar.n)

    try:
        yield on_progress, on_phase
    finally:
        if bar is not None:
            bar.close()


def _decode(arguments: argparse.Namespace) -> None:
    from PIL import Image

    form = arguments.format
    if form is None:
        form = "PNG" if arguments.output == "-" else _format_of(arguments.output)
    Image.init()
    form = form.upper()
    if form not in Image.SAVE:
        raise ValueError(f"Pillow cannot write the format {form}")
    data = _read(arguments.input)
    original = as_samples(_load_picture(arguments.compare)) if arguments.compare else None
    try:
        samples = decode(
            data,
            threads=arguments.threads,
            max_pixels=arguments.max_pixels,
            cpu=arguments.cpu,
            scale=arguments.scale,
            allow_partial=arguments.allow_partial,
        )
    except _decoder.DecodeError as error:
        raise ValueError(f"{arguments.input}: {error}") from None
    if original is not None and original.shape != samples.shape:
        raise ValueError(f"{arguments.compare}: not of the size and channels of {arguments.input}")
    encoded = io.BytesIO()
    try:
        to_picture(samples).save(encoded, format=form)
    except KeyError:
        raise ValueError(f"Pillow cannot write the format {form}") from None
    _write(arguments.output, encoded.getbuffer())
    if original is not None:
        height, width, channels = samples.shape
        report = sys.stderr if arguments.output == "-" else sys.stdout
        print(
            f"{width}x{height}, {channels} channels, {8 * len(data) / (width * height):.4f} bpp, "
            f"{psnr(samples, original):.2f} dB",
            file=report,
        )


def _format_of(name: str) -> str:
    from PIL import Image

    suffix = Path(name).suffix.lower()
    Image.init()
    if suffix not in Image.EXTENSION:
        raise ValueError(f"{name}: no picture format is known by the extension {suffix!r}")
    return Image.EXTENSION[suffix]


def _info(arguments: argparse.Namespace) -> None:
    try:
        fields = info(_read(arguments.file), max_pixels=arguments.max_pixels)
    except _decoder.DecodeError as error:
        raise ValueError(f"{arguments.file}: {error}") from None
    if arguments.json:
        print(json.dumps(fields, indent=2))
        return
    arch = fields["architecture"]
    macs = fields["mac_per_pixel"]
    print(
        f"coolchic version {fields['version']}: {fields['width']}x{fields['height']}, "
        f"{fields['channels']} channels of {fields['depth']} bits, {fields['bpp']:.4f} bpp"
    )
    print(
        f"architecture: {arch['grids']} grids; {_inputs_text(arch)}, "
        f"ARM {_layers_text(arch['arm'])}"
        f"{', with weights for each subband' if arch['subband_weights'] else ''}; "
        f"{arch['upsampling']}; "
        f"synthesis {_layers_text(arch['synthesis'])}"
    )
    print(
        f"{fields['parameters']} parameters, {macs['arm + synthesis']:.1f} MAC/pixel "
        f"(ARM {macs['arm']:.1f}, synthesis {macs['synthesis']:.1f}), "
        f"and {macs['upsampling']:.1f} of upsampling"
    )
    for name, size in fields["bytes"].items():
        print(f"{size:>10} bytes {100 * size / fields['total_bytes']:6.2f} %  {name}")
    print(f"{fields['total_bytes']:>10} bytes 100.00 %  in all")


def _inputs_text(arch: dict) -> str:
    parents = len(arch["parents"])
    return f"{len(arch['context'])} contexts" + (f" and {parents} parents" if parents else "")


def _layers_text(layers: list[dict]) -> str:
    widths = [str(layers[0]["inputs"])]
    for layer in layers:
        kernel = ":3x3" if layer["kind"] == "conv3x3" else ""
        widths.append(f"{layer['outputs']}{kernel}{'r' if layer['residual'] else ''}")
    return "-".join(widths)


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _check_writable(name: str) -> None:
    """Fail before minutes of training, not after."""
    if name == "-":
        return
    folder = Path(name).resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    if Path(name).is_dir():
        raise IsADirectoryError(21, "is a folder", name)
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, "no permission to write", str(folder))


def _write(name: str, data) -> None:
    """Write a whole file or none: to a temporary one beside it, then rename."""
    if name == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    _check_writable(name)
    path = Path(name)
    if path.exists() and not path.is_file():  # a device or a pipe takes the bytes as they come
        path.write_bytes(data)
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, _mode_for(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _mode_for(path: Path) -> int:
    """Permissions that a plain open() would have left the file with."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


if __name__ == "__main__":
    sys.exit(main())

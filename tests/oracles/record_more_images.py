"""Records tests/golden/worker_data_more_images.tar: GIF, BMP, TIFF, AVIF and HEIC pictures, turned ones and ones with a
colour profile, and what Pillow (HEIC: pillow-heif) makes of them.

    python tests/oracles/record_more_images.py tests/golden/worker_data_more_images.tar   (needs Pillow, pillow-heif, numpy)

<name>.<suffix> with <name>.rgb      convert("RGB"), raw bytes (absent: only the cost counts)
                     <name>.turned   ImageOps.exif_transpose first
                     <name>.srgb     ImageCms.profileToProfile to sRGB
"""
import io
import struct
import sys
import tarfile

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageFilter, ImageOps, PngImagePlugin
from record_images import photo

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None


def profile(colour):
    """A small ICC profile: Adobe RGB's primaries, or grey, with a gamma of 2.2 (1.8 for grey)."""
    def fixed(x):
        return struct.pack(">i", round(x * 65536))

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x0233 if colour else 0x01CD) + b"\0\0"
    text = b"test"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * (1 + 4 + 4 + 2 + 1 + 67 + 3)
    tags = {b"desc": desc, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(0.9642, 1, 0.8249)}
    if colour:
        tags |= {b"rXYZ": xyz(0.60974, 0.31111, 0.01947), b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
                 b"bXYZ": xyz(0.14919, 0.06322, 0.74457), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    else:
        tags |= {b"kTRC": curve}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"none", 0x02100000, b"mntr", b"RGB " if colour else b"GRAY", b"XYZ ")
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(0.9642) + fixed(1) + fixed(0.8249)
    return head + b"\0" * (128 - len(head)) + table + body


def main(path):
    out = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)
    tarfile.RECORDSIZE = 1024

    def add(name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        out.addfile(info, io.BytesIO(data))

    def picture(name, image, kind, shown=True, turned=False, srgb=False, **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        data = buffer.getvalue()
        suffix = {"JPEG": "jpg", "HEIF": "heic"}.get(kind, kind.lower())
        add(f"{name}.{suffix}", data)
        read = Image.open(io.BytesIO(data))
        if shown:
            add(f"{name}.rgb", read.convert("RGB").tobytes())
        if turned:
            add(f"{name}.turned", ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB").tobytes())
        if srgb:
            icc = ImageCms.ImageCmsProfile(io.BytesIO(read.info["icc_profile"]))
            to = ImageCms.createProfile("sRGB")
            add(f"{name}.srgb", ImageCms.profileToProfile(read, icc, to, outputMode="RGB").tobytes())

    small, soft = photo(29, 23), photo(40, 30).filter(ImageFilter.GaussianBlur(1))
    palette = small.quantize(17)
    alpha = small.copy()
    alpha.putalpha(small.convert("L"))
    picture("gif", palette, "GIF", interlace=0)
    picture("gif-interlaced", palette, "GIF", interlace=1)
    picture("gif-transparent", palette, "GIF", transparency=3)
    picture("gif-animated", palette, "GIF", save_all=True, append_images=[photo(29, 23, 1).quantize(9)])
    for mode in ("RGB", "L", "1", "P", "RGBA"):
        image = alpha if mode == "RGBA" else small.convert(mode)
        picture(f"bmp-{mode}", image, "BMP")
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            picture(f"tiff-{mode}-{compression}", image, "TIFF", compression=compression)
    picture("bmp-nibbles", small.quantize(13), "BMP")
    picture("tiff-fax", small.convert("1"), "TIFF", compression="group4")
    picture("tiff-jpeg", small, "TIFF", compression="jpeg")
    picture("tiff-cmyk", small.convert("CMYK"), "TIFF", compression="tiff_lzw")
    picture("tiff-grey16", Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 3), "TIFF")
    for subsampling in ("4:4:4", "4:2:0"):
        picture(f"avif-{subsampling[2]}", soft, "AVIF", quality=80, subsampling=subsampling)
        picture(f"heic-{subsampling[2]}", soft, "HEIF", quality=80, chroma=int(subsampling.replace(":", "")))
    picture("avif-alpha", alpha, "AVIF", quality=80)
    picture("avif-hard", small, "AVIF", quality=70)
    picture("heic-hard", small, "HEIF", quality=70)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        for kind, options in (("JPEG", {"subsampling": 0}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
            picture(f"turned-{kind}-{orientation}", small, kind, turned=True, exif=exif, **options)
        for kind in ("AVIF", "HEIF"):
            picture(f"turned-{kind}-{orientation}", soft, kind, turned=True, exif=exif, quality=70)
    # Where EXIF is silent XMP is asked; older programs wrote EXIF into a text of PNG.
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    one, six = Image.Exif(), Image.Exif()
    one[0x112], six[0x112] = 1, 6
    said, raw = PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
    said.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    digits = six.tobytes().hex()
    raw.add_text("Raw profile type exif", f"\nexif\n{len(digits) // 2:8}\n{digits}\n", zip=True)
    picture("xmp-JPEG", small, "JPEG", turned=True, xmp=xmp, subsampling=0)
    picture("xmp-WEBP", small, "WEBP", turned=True, xmp=xmp, lossless=True)
    picture("xmp-PNG", small, "PNG", turned=True, pnginfo=said)
    picture("raw-PNG", small, "PNG", turned=True, pnginfo=raw)
    picture("xmp-one", small, "JPEG", turned=True, xmp=xmp, exif=one, subsampling=0)
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"):
        options = {"chroma": 444} if kind == "HEIF" else {}
        picture(f"colours-{kind}", soft, kind, srgb=True, icc_profile=profile(True), quality=90, **options)
    picture("colours-grey", soft.convert("L"), "JPEG", srgb=True, icc_profile=profile(False))
    # What costs much: 25 and 64 Mpx in a few KiB.
    flat = Image.new("L", (5000, 5000), 99)
    picture("large", flat, "HEIF", shown=False, quality=50)
    picture("large", flat, "AVIF", shown=False, quality=50, speed=10)
    picture("huge", Image.new("1", (16384, 4096)), "PNG", shown=False)
    out.close()


if __name__ == "__main__":
    main(sys.argv[1])

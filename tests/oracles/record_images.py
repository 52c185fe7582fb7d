"""Records tests/golden/worker_data_images.tar: small pictures of every kind and what Pillow makes of them.

    python tests/oracles/record_images.py tests/golden/worker_data_images.tar      (needs Pillow, numpy, torchvision, transformers)

<name>.<jpg|png|webp> with <name>.rgb        convert("RGB"), raw bytes (absent: the picture must be refused)
resize-<w>x<h>.rgb                            photo.jpg resized with BICUBIC
crop-<x>-<y>-<w>-<h>-<side>.rgb               photo.jpg cropped, then resized to side x side
center-<resize>-<side>-<name>.rgb             torchvision Resize(resize, BICUBIC) + CenterCrop(side) of <name>
down-<resize>-<side>-<name>.rgb               transformers' CLIPImageProcessor with these sizes, without rescale and normalisation
"""
import io
import sys
import tarfile

import numpy as np
from PIL import Image
from torchvision import transforms
from transformers import CLIPImageProcessor


def photo(width, height, seed=0):
    """Smooth shapes with edges and some noise: what a resize or a DCT finds hard and easy."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 24, (height, width, 3))
    red = 127 + 120 * np.sin(x / 5.0) * np.cos(y / 9.0)
    green = 255.0 * x / width
    blue = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, 230, 30)
    return Image.fromarray(np.clip(np.stack([red, green, blue], -1) + noise, 0, 255).astype(np.uint8))


def main(path):
    out = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)
    tarfile.RECORDSIZE = 1024

    def add(name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        out.addfile(info, io.BytesIO(data))

    def picture(name, image, kind, refused=False, **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        data = buffer.getvalue()
        add(f"{name}.{ {'JPEG': 'jpg', 'PNG': 'png', 'WEBP': 'webp'}[kind] }", data)
        if not refused:
            add(f"{name}.rgb", Image.open(io.BytesIO(data)).convert("RGB").tobytes())
        return Image.open(io.BytesIO(data)).convert("RGB")

    small = photo(29, 23)
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        picture(f"jpeg{name}", small, "JPEG", quality=85, subsampling=subsampling)
        picture(f"progressive{name}", small, "JPEG", quality=85, subsampling=subsampling, progressive=True)
    picture("restart", small, "JPEG", quality=60, restart_marker_blocks=2)
    picture("grey", small.convert("L"), "JPEG")
    picture("cmyk", small.convert("CMYK"), "JPEG")
    picture("one", small.crop((0, 0, 1, 1)), "JPEG")
    picture("rgb8", small, "PNG")
    alpha = small.copy()
    alpha.putalpha(small.convert("L"))
    picture("rgba8", alpha, "PNG")
    picture("la8", alpha.convert("LA"), "PNG")
    picture("palette", small.quantize(17), "PNG")
    picture("palette2", small.quantize(2), "PNG", bits=1)
    picture("bilevel", small.convert("1"), "PNG")
    wide = (np.asarray(small.convert("L")).astype(np.uint16) * 3)
    picture("grey16", Image.fromarray(wide), "PNG")
    picture("transparent", small.quantize(17), "PNG", transparency=3)
    picture("lossy", small, "WEBP", quality=80)
    picture("lossless", small, "WEBP", lossless=True)
    picture("alphalossy", alpha, "WEBP", quality=80)
    picture("alphalossless", alpha, "WEBP", lossless=True, exact=True)
    picture("animated", small, "WEBP", refused=True, save_all=True, append_images=[photo(29, 23, 1)])

    source = picture("photo", photo(100, 75), "JPEG", quality=90)
    tall = picture("tall", photo(43, 90), "JPEG", quality=90)
    strip = picture("strip", photo(145, 16), "JPEG", quality=90)
    for width, height in ((32, 32), (64, 24), (20, 61), (110, 40), (100, 30)):
        add(f"resize-{width}x{height}.rgb", source.resize((width, height), Image.BICUBIC).tobytes())
    for x, y, w, h, side in ((3, 2, 90, 70, 40), (50, 30, 33, 41, 40)):
        add(f"crop-{x}-{y}-{w}-{h}-{side}.rgb",
            source.crop((x, y, x + w, y + h)).resize((side, side), Image.BICUBIC).tobytes())
    for resize, side in ((32, 32), (40, 33), (32, 25), (20, 33)):
        transform = transforms.Compose([
            transforms.Resize(resize, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side)])
        for name, image in (("photo", source), ("tall", tall)):
            add(f"center-{resize}-{side}-{name}.rgb", transform(image).tobytes())
    add("center-32-32-strip.rgb", transforms.CenterCrop(32)(transforms.Resize(32, interpolation=transforms.InterpolationMode.BICUBIC)(strip)).tobytes())
    for resize, side in ((40, 33), (32, 25), (20, 33)):
        processor = CLIPImageProcessor(size={"shortest_edge": resize}, crop_size={"height": side, "width": side}, do_rescale=False, do_normalize=False)
        for name, image in (("photo", source), ("tall", tall)):
            pixels = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
            add(f"down-{resize}-{side}-{name}.rgb", pixels.transpose(1, 2, 0).astype(np.uint8).tobytes())
    out.close()


if __name__ == "__main__":
    main(sys.argv[1])

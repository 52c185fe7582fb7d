#!/usr/bin/env python3
"""Turns a PyTorch state dict (.pth, zip or legacy format) into safetensors.

usage: pth_to_safetensors.py IN.pth OUT.safetensors [--metadata KEY=VALUE ...]

Standard library only: the tensors are read without torch, which may be installed without its Python dependencies.
The pickle may name nothing but the few harmless things of the table below; anything else is an error, so that a
file from elsewhere cannot run code. Little-endian files only.
"""
import argparse
import collections
import io
import json
import os
import pickle
import struct
import sys
import zipfile

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {  # torch's storage class -> safetensors dtype, bytes per element
    'FloatStorage': ('F32', 4), 'DoubleStorage': ('F64', 8), 'HalfStorage': ('F16', 2), 'BFloat16Storage': ('BF16', 2),
    'LongStorage': ('I64', 8), 'IntStorage': ('I32', 4), 'ByteStorage': ('U8', 1), 'BoolStorage': ('BOOL', 1)}


class Storage:
    """Bytes that several tensors may share; filled in after the pickle in the legacy format."""

    def __init__(self, kind, key, elements):
        self.dtype, self.width = STORAGES[kind]
        self.key, self.elements, self.data = key, elements, None


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)

    def contiguous(self):
        """The elements in row-major order."""
        width, data = self.storage.width, self.storage.data
        count, expected, packed = 1, 1, True
        for extent, stride in zip(reversed(self.shape), reversed(self.strides)):
            packed = packed and (extent == 1 or stride == expected)
            expected *= extent
            count *= extent
        start = self.offset * width
        if packed:
            piece = data[start:start + count * width]
            if len(piece) != count * width:
                raise ValueError('a tensor reaches beyond its storage')
            return piece
        out = bytearray()

        def walk(axis, at):
            if axis == len(self.shape):
                if at < 0 or (at + 1) * width > len(data):
                    raise ValueError('a tensor reaches beyond its storage')
                out.extend(data[at * width:(at + 1) * width])
                return
            for i in range(self.shape[axis]):
                walk(axis + 1, at + i * self.strides[axis])

        walk(0, self.offset)
        return bytes(out)


def rebuild_tensor(storage, offset, shape, strides, *_):
    return Tensor(storage, offset, shape, strides)


def rebuild_parameter(tensor, *_):
    return tensor


class Unpickler(pickle.Unpickler):
    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ('collections', 'OrderedDict'):
            return collections.OrderedDict
        if (module, name) in (('torch._utils', '_rebuild_tensor_v2'), ('torch._utils', '_rebuild_tensor')):
            return rebuild_tensor
        if (module, name) == ('torch._utils', '_rebuild_parameter'):
            return rebuild_parameter
        if module in ('torch', 'torch.storage') and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f'the file names {module}.{name}, which a table of tensors does not need')

    def persistent_load(self, saved):
        if saved[0] != 'storage':
            raise pickle.UnpicklingError(f'unknown persistent object {saved[0]!r}')
        kind, key, elements = saved[1], str(saved[2]), saved[4]
        if len(saved) > 5 and saved[5] is not None:
            raise pickle.UnpicklingError('storages that are views of others are not supported')
        return self.storages.setdefault(key, Storage(kind, key, elements))


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        pickled = [name for name in archive.namelist() if name.endswith('/data.pkl') or name == 'data.pkl']
        if len(pickled) != 1:
            raise ValueError('no data.pkl in the archive')
        folder = pickled[0][:-len('data.pkl')]
        unpickler = Unpickler(io.BytesIO(archive.read(pickled[0])))
        tree = unpickler.load()
        for storage in unpickler.storages.values():
            storage.data = archive.read(folder + 'data/' + storage.key)
    return tree


def read_legacy(path):
    with open(path, 'rb') as file:
        if Unpickler(file).load() != LEGACY_MAGIC:
            raise ValueError('neither a zip archive nor a legacy torch file')
        Unpickler(file).load()  # protocol version
        if not Unpickler(file).load().get('little_endian', True):
            raise ValueError('big-endian file')
        unpickler = Unpickler(file)
        tree = unpickler.load()
        for key in Unpickler(file).load():
            storage = unpickler.storages[str(key)]
            elements, = struct.unpack('<q', file.read(8))
            storage.data = file.read(elements * storage.width)
            if elements != storage.elements or len(storage.data) != elements * storage.width:
                raise ValueError('truncated')
    return tree


def state_dict(tree):
    for wrapper in ('state_dict', 'model'):
        if isinstance(tree, dict) and isinstance(tree.get(wrapper), dict):
            tree = tree[wrapper]
    tensors = {name: value for name, value in tree.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError('no tensors in it')
    return tensors


def write_safetensors(path, tensors, metadata):
    header, blobs, at = ({'__metadata__': metadata} if metadata else {}), [], 0
    for name, tensor in tensors.items():
        blob = tensor.contiguous()
        header[name] = {'dtype': tensor.storage.dtype, 'shape': list(tensor.shape), 'data_offsets': [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    aside = f'{path}.tmp-{os.getpid()}'
    with open(aside, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text)
        for blob in blobs:
            file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('source')
    parser.add_argument('destination')
    parser.add_argument('--metadata', action='append', default=[], metavar='KEY=VALUE')
    options = parser.parse_args()
    try:
        tree = read_zip(options.source) if zipfile.is_zipfile(options.source) else read_legacy(options.source)
        tensors = state_dict(tree)
        write_safetensors(options.destination, tensors, dict(pair.split('=', 1) for pair in options.metadata))
    except (ValueError, OSError, EOFError, KeyError, TypeError, struct.error, pickle.UnpicklingError) as error:
        sys.exit(f'pth_to_safetensors: {options.source}: {error}')
    print(f'{options.destination}: {len(tensors)} tensors')


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
"""Turns a PyTorch checkpoint into safetensors: .pth, .pt, .bin (zip or legacy), TorchScript archives.

usage: pth_to_safetensors.py IN.pth OUT.safetensors [--take KEY] [--metadata KEY=VALUE ...]

Standard library only: the tensors are read without torch, which may be installed without its Python dependencies.
No code of the file runs: its pickle may name the few things of the tables below, which become tensors or are left
empty; anything else is an error. No tensor may be larger than the storage it lies in, and storages are not
compressed, so that a small file stays small. Little-endian files only.

Around the weights there may be optimizer states, schedules and averaged copies (EMA): the raw weights are taken and
what else is there is named; --take KEY takes another table. Objects of a TorchScript archive become names with dots.
"""
import argparse
import collections
import io
import json
import os
import pickle
import resource
import struct
import sys
import zipfile
import zlib

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
        count = 1
        for extent in self.shape:
            if not isinstance(extent, int) or extent < 0:
                raise ValueError(f'a tensor of shape {list(self.shape)}')
            count *= extent
        if count > storage.elements:
            raise ValueError(f'a tensor of shape {list(self.shape)} repeats the {storage.elements} numbers of its storage')
        self.count = count

    def contiguous(self):
        """The elements in row-major order."""
        width, data = self.storage.width, self.storage.data
        if self.count == 0:
            return b''
        expected, packed = 1, True
        for extent, stride in zip(reversed(self.shape), reversed(self.strides)):
            packed = packed and (extent == 1 or stride == expected)
            expected *= extent
        start = self.offset * width
        if packed:
            piece = data[start:start + self.count * width]
            if len(piece) != self.count * width:
                raise ValueError('a tensor reaches beyond its storage')
            return piece
        if self.count and (self.offset < 0 or min(self.strides) < 0 or self.offset + sum((e - 1) * s for e, s in zip(self.shape, self.strides)) >= len(data) // width):
            raise ValueError('a tensor reaches beyond its storage')
        places = [self.offset]
        for extent, stride in zip(self.shape, self.strides):
            places = [at + i * stride for at in places for i in range(extent)]
        return b''.join(data[at * width:(at + 1) * width] for at in places)


class Inert:
    """What a pickled object becomes that is no tensor: it keeps its state and does nothing."""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        self.state = {}

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    def extend(self, values):
        pass

    def __hash__(self):
        return id(self)


def rebuild_tensor(storage, offset, shape, strides, *_):
    return Tensor(storage, offset, shape, strides)


def rebuild_parameter(tensor, *_):
    return tensor


# Harmless things that training scripts save beside weights; none of them is built.
INERT = {
    ('_codecs', 'encode'), ('argparse', 'Namespace'), ('collections', 'Counter'), ('collections', 'defaultdict'), ('builtins', 'set'), ('builtins', 'dict'),
    ('builtins', 'list'), ('builtins', 'int'), ('builtins', 'float'), ('builtins', 'bool'), ('builtins', 'slice'), ('pathlib', 'PosixPath'), ('pathlib', 'PurePosixPath'),
    ('torch', 'Size'), ('torch', 'device'), ('torch', 'float32'), ('torch', 'float16'), ('torch', 'bfloat16'), ('torch', 'float64'), ('torch', 'int64'),
    ('numpy', 'dtype'), ('numpy', 'ndarray'), ('numpy.core.multiarray', 'scalar'), ('numpy.core.multiarray', '_reconstruct'),
    ('numpy._core.multiarray', 'scalar'), ('numpy._core.multiarray', '_reconstruct'), ('omegaconf.dictconfig', 'DictConfig'), ('omegaconf.listconfig', 'ListConfig'),
    ('omegaconf.base', 'ContainerMetadata'), ('omegaconf.base', 'Metadata'), ('omegaconf.nodes', 'AnyNode'), ('typing', 'Any'),
    ('torch.jit._pickle', 'build_intlist'), ('torch.jit._pickle', 'build_doublelist'), ('torch.jit._pickle', 'build_boollist'),
    ('torch.jit._pickle', 'build_tensorlist'), ('torch.jit._pickle', 'restore_type_tag')}


INERT |= {('__builtin__', name) for module, name in INERT if module == 'builtins'} | {('__builtin__', 'long')}  # protocol 2's names


class Unpickler(pickle.Unpickler):
    def __init__(self, file, scripted=False):
        super().__init__(file)
        self.storages, self.scripted, self.quick_gelu = {}, scripted, False

    def find_class(self, module, name):
        if (module, name) == ('collections', 'OrderedDict'):
            return collections.OrderedDict
        if (module, name) in (('torch._utils', '_rebuild_tensor_v2'), ('torch._utils', '_rebuild_tensor')):
            return rebuild_tensor
        if (module, name) in (('torch._utils', '_rebuild_parameter'), ('torch._utils', '_rebuild_parameter_with_state')):
            return rebuild_parameter
        if module in ('torch', 'torch.storage') and name in STORAGES:
            return name
        if self.scripted and (module == '__torch__' or module.startswith('__torch__.')):
            self.quick_gelu = self.quick_gelu or 'QuickGELU' in name
            return Inert
        if (module, name) in INERT:
            return Inert
        raise pickle.UnpicklingError(f'the file names {module}.{name}, which a table of tensors does not need')

    def persistent_load(self, saved):
        if saved[0] != 'storage':
            raise pickle.UnpicklingError(f'unknown persistent object {saved[0]!r}')
        if len(saved) < 5:
            raise pickle.UnpicklingError('a storage without its size')
        kind, key, elements = saved[1], str(saved[2]), saved[4]
        if len(saved) > 5 and saved[5] is not None:
            raise pickle.UnpicklingError('storages that are views of others are not supported')
        return self.storages.setdefault(key, Storage(kind, key, elements))


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = [name for name in names if name.endswith('/data.pkl') or name == 'data.pkl']
        if len(pickled) != 1:
            raise ValueError('no data.pkl in the archive')
        folder = pickled[0][:-len('data.pkl')]
        scripted = any(name.startswith(folder + 'code/') for name in names)
        if archive.getinfo(pickled[0]).file_size > 1 << 28:
            raise ValueError('its data.pkl is too large')
        unpickler = Unpickler(io.BytesIO(archive.read(pickled[0])), scripted)
        tree = unpickler.load()
        for storage in unpickler.storages.values():
            record = archive.getinfo(folder + 'data/' + storage.key)
            if record.compress_type != zipfile.ZIP_STORED or record.file_size < storage.elements * storage.width:
                raise ValueError(f'storage {storage.key} is compressed or truncated')
            storage.data = archive.read(record)
    return (flat(tree) if scripted else tree), unpickler.quick_gelu


def flat(tree):
    """The tensors of a TorchScript object, named by the path to them."""
    found, queue = {}, [('', tree)]
    while queue:
        prefix, value = queue.pop(0)
        for name, member in (value.state.items() if isinstance(value.state, dict) else ()):
            if isinstance(member, Tensor):
                found[prefix + str(name)] = member
            elif isinstance(member, Inert):
                queue.append((f'{prefix}{name}.', member))
        if len(queue) > 100000:
            raise ValueError('its objects are nested without end')
    return found


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
    return tree, False


RAW = ('state_dict', 'model_state_dict', 'model', 'module', 'network', 'net', 'weights', 'params')
AVERAGED = ('model_ema', 'state_dict_ema', 'ema_state_dict', 'ema_model', 'ema', 'params_ema', 'averaged_model')


def tables(tree, path='', depth=0):
    """Every dictionary of tensors by the path to it, but for optimizers."""
    found = {}
    if isinstance(tree, dict) and depth < 6:
        if any(isinstance(value, Tensor) for value in tree.values()):
            found[path] = tree
        for key, value in tree.items():
            if isinstance(key, str) and not key.startswith('optim') and key != 'scheduler':
                found.update(tables(value, f'{path}.{key}' if path else key, depth + 1))
    return found


def rank(path, found):
    """Raw before averaged, known names before others, the shallow before the deep."""
    parts = path.split('.') if path else []
    averaged = any(part in AVERAGED for part in parts)
    known = all(part in RAW or part in AVERAGED for part in parts) and (path or not any(name in found for name in RAW))
    return averaged, not known, len(parts)


def state_dict(tree, take):
    found = tables(tree)
    if not found:
        raise ValueError('no tensors in it')
    if take is not None and take not in found:
        raise ValueError(f'it holds no table of tensors {take!r}; there are ' + ', '.join(repr(name) for name in found))
    taken = take if take is not None else min(found, key=lambda path: rank(path, found))
    left = [name for name in found if name != taken]
    if taken or left:
        print(f'taken: {taken or "the outermost table"}' + (f'; left: {", ".join(name or "the outermost table" for name in left)} (--take NAME)' if left else ''))
    return {str(name): value for name, value in found[taken].items() if isinstance(value, Tensor)}


MOST_SHARED = 8  # times that the storages may be written, on average, because tensors share them


def write_safetensors(path, tensors, metadata):
    storages = {id(tensor.storage): len(tensor.storage.data) for tensor in tensors.values()}
    if sum(tensor.count * tensor.storage.width for tensor in tensors.values()) > MOST_SHARED * sum(storages.values()) + (1 << 20):
        raise ValueError(f'its {len(tensors)} tensors share {len(storages)} storages so often that the result would be many times the file')
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
    parser.add_argument('--take', metavar='KEY')
    parser.add_argument('--metadata', action='append', default=[], metavar='KEY=VALUE')
    options = parser.parse_args()
    try:
        # A few bytes can ask for a table of four thousand million objects; the tensors and a copy of them are all that is needed.
        most, hard = 4 * os.path.getsize(options.source) + (1 << 30), resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
        tree, quick_gelu = read_zip(options.source) if zipfile.is_zipfile(options.source) else read_legacy(options.source)
        tensors = state_dict(tree, options.take)
        metadata = {'quick_gelu': 'true'} if quick_gelu else {}
        write_safetensors(options.destination, tensors, metadata | dict(pair.split('=', 1) for pair in options.metadata))
    except MemoryError:
        sys.exit(f'pth_to_safetensors: {options.source}: it asks for more memory than {most >> 20} MiB, which its size does not explain')
    except (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        sys.exit(f'pth_to_safetensors: {options.source}: {error or type(error).__name__}')
    print(f'{options.destination}: {len(tensors)} tensors')


if __name__ == '__main__':
    main()

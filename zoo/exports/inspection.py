"""Reads SavedModels as data, without TensorFlow, and refuses what `zoo.export` does not write.

A SavedModel is a program: TensorFlow runs parts of it when it loads it, and some operations read
and write files or call Python. So a folder is checked before TensorFlow sees it:

1. card.json lists every file of the folder, none of which is a link, with its sha256.
2. saved_model.pb has only the fields in saved_model.schema, each once.
3. Every graph and every function has only the operations in operations.txt. Those that read and
   write checkpoints are in the functions of the saver alone, with the path that the saver gives.
4. What is left is bounded: functions do not call themselves, constants and variables are small.

benchmarks/allow_list.py writes the two lists from the exports of the models.
"""

import functools
import graphlib
import hashlib
import math
import os
import re
import stat
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    unknown_fields,
)

from zoo import storage
from zoo.errors import ArtefactError, InputError
from zoo.exports.cards import CARD, read_card

__all__ = ["GRAPH", "SAVER", "Inspection", "allowed", "check", "check_files", "inspect"]

GRAPH = "saved_model.pb"
VARIABLES = "variables"
SAVER = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})
"""Operations that read and write checkpoints."""

MAX_FILES = 1000
MAX_BYTES = 2**23  # of saved_model.pb; those of zoo have less than 1 MB
MAX_ENTRIES = 50_000  # functions, objects or signatures
MAX_NODES = 250_000
MAX_CALLED_NODES = 10**6  # where each call of a function counts with its body
MAX_ATTRIBUTES = 100  # of a node
MAX_UNKNOWN = 2**16  # bytes of unknown fields that are named
MAX_CONSTANTS = 2**26  # bytes of all constants
MAX_ELEMENTS = 2**28  # of a tensor whose size is a constant
MAX_RANK = 254  # of tensors in TensorFlow
MAX_FINDINGS = 20

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
SIZES = {  # operations that create tensors, and the input with the size
    "BroadcastTo": 1,
    "Fill": 0,
    "OneHot": 1,
    "Range": 1,
    "StatelessRandomUniformFullIntV2": 0,
    "TensorListReserve": 1,
    "Tile": 1,
}
DTYPES = {  # DataType in types.proto: (name, bytes per value)
    1: ("float32", 4),
    2: ("float64", 8),
    3: ("int32", 4),
    4: ("uint8", 1),
    5: ("int16", 2),
    6: ("int8", 1),
    7: ("string", 24),
    9: ("int64", 8),
    10: ("bool", 1),
    14: ("bfloat16", 2),
    17: ("uint16", 2),
    19: ("float16", 2),
    22: ("uint32", 4),
    23: ("uint64", 8),
}
OBJECTS = {"_generic_user_object", "signature_map", "trackable_list_wrapper"}
FUNCTION_ATTRIBUTES = {"_construction_context", "_input_shapes"}
INITIALIZER = "__saved_model_init_op"
COLLECTIONS = {"saved_model_main_op"}
_DEVICE = re.compile(r"(/job:localhost/replica:0/task:0)?(/device:[CG]PU:(\d+|\*))?")


@dataclass(frozen=True)
class Inspection:
    """What a graph file contains.

    Args:
      path: Path of saved_model.pb.
      bytes: its size.
      sha256: of the file, in hex.
      tensorflow: version that wrote it.
      signatures: {endpoint: {"inputs" or "outputs": {name: "int32 [2]"}}}.
      operations: {operation: number of nodes}, over all graphs and functions.
      functions: number of functions.
      weights: number of values in the stored variables.
      findings: reasons to refuse the file, at most 20; empty if it is accepted.
    """

    path: Path
    bytes: int
    sha256: str
    tensorflow: str
    signatures: dict[str, dict[str, dict[str, str]]]
    operations: dict[str, int]
    functions: int
    weights: int
    findings: list[str]


def check(folder: str | os.PathLike, trust: str | None = None) -> dict:
    """Refuses a SavedModel that is damaged or unsafe to load.

    Args:
      folder: path.
      trust: sha256 in hex of a saved_model.pb that is accepted whatever it contains. The files are
        still compared with card.json.

    Returns:
      dict; the content of card.json.

    Raises:
      InputError: if `trust` is no sha256.
      ArtefactError: if a file is missing, damaged, unlisted or a link, or the graph is refused.
    """
    if trust is not None and not (isinstance(trust, str) and re.fullmatch("[0-9a-f]{64}", trust)):
        raise InputError(f"trust must be a sha256, 64 hexadecimal digits. Received: {trust!r}")
    card = check_files(folder)
    result = inspect(Path(folder) / GRAPH)
    if result.sha256 != card["files"].get(GRAPH):
        raise ArtefactError(f"{result.path} changed while it was read.")
    if result.findings and result.sha256 != trust:
        more = len(result.findings) - 1
        raise ArtefactError(
            f"{result.path} is refused: {result.findings[0]}"
            f"{f' (and {more} more: zoo inspect)' if more else ''}. Loading it can run any code. If"
            f" you trust its author, add: --trust {result.sha256} (trust='{result.sha256}')"
        )
    if missing := {*card.get("can", ())} - {*result.signatures}:
        raise ArtefactError(f"{result.path} has no signature {', '.join(sorted(missing))}.")
    return card


def check_files(folder: str | os.PathLike) -> dict:
    """Compares the files of a SavedModel with its card, and returns the card.

    Files at the top whose names begin with a dot are no part of it and are ignored.

    Raises:
      ArtefactError: if a file is missing, damaged, not listed, outside the folder, or no regular
        file.
    """
    folder = Path(folder)
    present = _list_files(folder)
    card = read_card(folder)
    for name in card["files"]:
        if name not in present and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise ArtefactError(f"{folder / CARD} lists a file outside its folder: {_short(name)}.")
    for name in present - {*card["files"], CARD}:
        if not name.startswith("."):
            raise ArtefactError(f"{folder / name} is not listed in {CARD}: remove it.")
    storage.verify(folder, CARD)
    return card


def inspect(path: str | os.PathLike) -> Inspection:
    """Reads a graph file without TensorFlow and without running it.

    Args:
      path: of a saved_model.pb. The sizes of its variables are compared with the folder variables
        beside it, if there is one.

    Raises:
      ArtefactError: if it cannot be read, or is too large to be read safely.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise ArtefactError(f"{path} has more than {MAX_BYTES:,} bytes, the most that zoo reads.")
    reader = _Reader(path.parent / VARIABLES)
    version, signatures = reader.read(data)
    return Inspection(
        path=path,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        tensorflow=version,
        signatures=signatures,
        operations=dict(sorted(reader.operations.items())),
        functions=reader.functions,
        weights=reader.weights,
        findings=reader.findings,
    )


@functools.cache
def allowed() -> frozenset[str]:
    """Returns the operations that any graph may contain."""
    return frozenset(Path(__file__).with_name("operations.txt").read_text().split())


class _Reader:
    """Reads one graph file, and collects what is wrong with it.

    Args:
      variables: Path of the folder that stores the values of variables.
    """

    def __init__(self, variables):
        self.variables = variables
        self.findings = []
        self.operations = Counter()
        self.functions = self.weights = self.constants = 0
        self.configurations = set()
        self.savers = []

    def find(self, problem):
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(problem)

    def read(self, data):
        """Returns (version of TensorFlow, signatures) of the content of a saved_model.pb."""
        try:
            saved = _message("SavedModel").FromString(data)
        except message.DecodeError:
            self.find("it is damaged: it is no protocol buffer of a SavedModel")
            return "", {}
        if not self.has_known_fields(saved, data):
            return "", {}
        if len(saved.meta_graphs) != 1:
            self.find(f"it has {len(saved.meta_graphs)} graphs instead of one")
        if not saved.meta_graphs:
            return "", {}
        graph = saved.meta_graphs[0]
        parts = {
            "functions": graph.graph_def.library.function,
            "gradients": graph.graph_def.library.registered_gradients,
            "objects": graph.object_graph_def.nodes,
            "functions of objects": graph.object_graph_def.concrete_functions,
            "signatures": graph.signature_def,
        }
        if large := [name for name, part in parts.items() if len(part) > MAX_ENTRIES]:
            self.find(f"it has more than {MAX_ENTRIES:,} {large[0]}")
            return "", {}
        if saved.saved_model_schema_version != 1:
            self.find(f"it has the schema version {saved.saved_model_schema_version}, not 1")
        if [*graph.meta_info_def.tags] != ["serve"]:
            self.find("its graph is not tagged 'serve' alone")
        for name in {*graph.collection_def} - COLLECTIONS:
            self.find(f"it has the collection {_short(name)}")
        self.check_graphs(graph)
        self.check_objects(graph)
        signatures = {
            name: {"inputs": _specs(signature.inputs), "outputs": _specs(signature.outputs)}
            for name, signature in sorted(graph.signature_def.items())
            if name != INITIALIZER
        }
        return graph.meta_info_def.tensorflow_version, signatures

    def has_known_fields(self, parsed, data):
        """Reports a field that the schema does not have, or bytes that do not count."""
        size = parsed.ByteSize()
        if unknown := _unknown_field(parsed):
            self.find(f"it has {unknown}, which zoo does not write")
        elif size != len(data):
            self.find("it has bytes that belong to no field, or a field twice")
        return not self.findings

    def check_graphs(self, graph):
        """Checks the operations, attributes and calls of the main graph and of all functions."""
        library = graph.graph_def.library
        functions = {function.signature.name: function for function in library.function}
        self.functions = len(library.function)
        graphs = [graph.graph_def.node, *(function.node_def for function in library.function)]
        if sum(map(len, graphs)) > MAX_NODES:
            self.find(f"it has more than {MAX_NODES:,} nodes")
            return
        if len(functions) != self.functions:
            self.find("two functions have one name")
        for name in functions.keys() & (allowed() | SAVER):
            self.find(f"a function has the name of the operation {name}")
        self.savers = savers = self.check_saver(graph, functions)
        calls = {None: self.check_nodes("the main graph", graph.graph_def.node, functions, False)}
        for name, function in functions.items():
            where = f"the function {_short(name)}"
            calls[name] = self.check_nodes(where, function.node_def, functions, name in savers)
            for key in {*function.attr} - FUNCTION_ATTRIBUTES:
                self.find(f"{where} has the attribute {_short(key)}")
        for name in savers:
            if sum(called[name] for called in calls.values()) != 1:
                self.find(f"the function {_short(name)} of the saver is called by others")
        self.check_recursion(
            {None: graph.graph_def.node, **{name: f.node_def for name, f in functions.items()}},
            calls,
        )
        for entry in library.registered_gradients:
            if entry.gradient_func not in functions or entry.gradient_func in savers:
                self.find(f"it has the gradient {_short(entry.gradient_func)}")

    def check_nodes(self, where, nodes, functions, is_saver):
        """Checks the nodes of one graph, and returns how often it calls each function."""
        calls, sizes, names = Counter(), {}, set()
        for node in nodes:
            op, place = node.op, f"the node {_short(node.name)} of {where}"
            self.operations[op] += 1
            if op in SAVER and not is_saver:
                self.find(f"it has the operation {op} outside the saver, in {place}")
            elif op not in SAVER and op not in allowed() and self.operations[op] == 1:
                self.find(f"it has the operation {_short(op)}, in {place}")
            if node.name in names:
                self.find(f"two nodes are {place}")
            names.add(node.name)
            if not _DEVICE.fullmatch(node.device):
                self.find(f"it has the device {_short(node.device)}, in {place}")
            if len(node.attr) > MAX_ATTRIBUTES:
                self.find(f"it has more than {MAX_ATTRIBUTES} attributes, in {place}")
                continue
            for key, value in node.attr.items():
                kind = value.WhichOneof("value")
                if kind == "tensor":
                    self.check_constant(value.tensor, place)
                    if op == "Const":
                        sizes[node.name] = value.tensor
                elif kind == "func":
                    calls[value.func.name] += 1
                    if value.func.name not in functions:
                        self.find(f"it calls {_short(value.func.name)}, no function, in {place}")
                elif key == "config_proto":
                    self.check_configuration(value.s, place)
                elif kind == "shape" and _elements(value.shape) > MAX_ELEMENTS:
                    self.find(f"it has a huge shape, in {place}")
        for node in nodes:
            k = SIZES.get(node.op, len(node.input))
            if k < len(node.input):
                constant = sizes.get(node.input[k].partition(":")[0])
                if constant is not None and _product(constant) > MAX_ELEMENTS:
                    place = f"the node {_short(node.name)} of {where}"
                    self.find(f"it creates a huge tensor, in {place}")
        return calls

    def check_constant(self, tensor, place):
        _, size = DTYPES.get(tensor.dtype, ("", 0))
        if not size:
            self.find(f"it has a constant of the type {tensor.dtype}, in {place}")
            return
        before = self.constants
        self.constants += _elements(tensor.tensor_shape) * size
        if before <= MAX_CONSTANTS < self.constants:
            self.find(f"its constants have more than {MAX_CONSTANTS:,} bytes, in {place}")

    def check_configuration(self, data, place):
        """Checks the configuration of devices, a protocol buffer within an attribute of a call."""
        if data in self.configurations:
            return
        self.configurations.add(data)
        try:
            parsed = _message("ConfigProto").FromString(data)
        except message.DecodeError:
            self.find(f"it has a damaged configuration, in {place}")
            return
        if unknown := _unknown_field(parsed):
            self.find(f"it has {unknown} in the configuration of {place}")

    def check_saver(self, graph, functions):
        """Checks the saver, and returns the names of its functions.

        They may use the operations of the saver, and only with the path that is their argument.
        """
        saver = graph.saver_def
        nodes = {node.name: node for node in graph.graph_def.node}
        path = saver.filename_tensor_name.partition(":")[0]
        if path in nodes and nodes[path].op != "Placeholder":
            self.find("the path of its saver is no argument")
        names = []
        for node in (saver.save_tensor_name.partition(":")[0], saver.restore_op_name):
            call = nodes.get(node)
            if call is None:
                continue
            name = call.attr["f"].func.name if "f" in call.attr else ""
            if call.op not in CALLS or name not in functions or [*call.input[:1]] != [path]:
                self.find(f"the node {_short(node)} of the saver is no call with its path")
            elif not _reads_and_writes_its_argument(functions[name]):
                self.find(f"the function {_short(name)} of the saver uses another path")
            else:
                names.append(name)
        return names

    def check_recursion(self, graphs, calls):
        """Checks that no function calls itself, and that all calls together are bounded."""
        callees = {name: called.keys() & graphs.keys() for name, called in calls.items()}
        try:
            order = [*graphlib.TopologicalSorter(callees).static_order()]
        except graphlib.CycleError as error:
            self.find(f"the function {_short(error.args[1][0])} calls itself")
            return
        sizes = {}
        for name in order:
            sizes[name] = len(graphs[name]) + sum(
                count * sizes[called] for called, count in calls[name].items() if called in sizes
            )
            if sizes[name] > MAX_CALLED_NODES:
                self.find(f"it has more than {MAX_CALLED_NODES:,} nodes when functions are called")
                return

    def check_objects(self, graph):
        """Checks what TensorFlow creates when it loads the file."""
        objects, functions = graph.object_graph_def, graph.object_graph_def.concrete_functions
        library = {function.signature.name for function in graph.graph_def.library.function}
        if not objects.nodes:
            self.find("it has no objects: it was written by TensorFlow 1")
        used = {*functions}
        stored = 0
        for k, node in enumerate(objects.nodes):
            kind = node.WhichOneof("kind")
            if kind is None:
                self.find(f"object {k} is of no kind")
            elif kind == "user_object" and node.user_object.identifier not in OBJECTS:
                self.find(f"object {k} is of the type {_short(node.user_object.identifier)}")
            elif kind == "bare_concrete_function":
                used.add(node.bare_concrete_function.concrete_function_name)
            elif kind == "captured_tensor":
                used.add(node.captured_tensor.concrete_function)
            elif kind == "variable":
                _, size = DTYPES.get(node.variable.dtype, ("", 0))
                if not size or node.variable.dtype == 7 or node.variable.shape.unknown_rank:
                    self.find(f"object {k} is a variable of an unknown shape or type")
                count = _elements(node.variable.shape)
                self.weights += count
                stored += count * size
            for child in node.children:
                if not 0 <= child.node_id < len(objects.nodes):
                    self.find(f"object {k} has a child that does not exist")
                if not re.fullmatch(r"[A-Za-z0-9]\w*", child.local_name, re.ASCII):
                    self.find(f"object {k} has a child of the name {_short(child.local_name)}")
        for name in sorted(used - library):
            self.find(f"its object {_short(name)} is no function")
        for name in sorted(used & {*self.savers}):
            self.find(f"the function {_short(name)} of the saver is an object")
        for bound in functions.values():
            if any(not 0 <= k < len(objects.nodes) for k in bound.bound_inputs):
                self.find("a function has an input that does not exist")
        if self.variables.is_dir():
            on_disk = sum(path.lstat().st_size for path in self.variables.iterdir())
            if stored > on_disk:
                self.find(f"its variables have {stored:,} bytes, and {on_disk:,} are stored")


def _reads_and_writes_its_argument(function):
    """Whether a function of the saver uses files only under the path that is its first argument.

    TensorFlow writes to PATH_temp/part-00000-of-00001 or PATH.part-…, and merges that into PATH.
    """
    if not function.signature.input_arg:
        return False
    argument = function.signature.input_arg[0].name
    nodes = {node.name: node for node in function.node_def}

    def producer(node, k):
        name = node.input[k].partition(":")[0] if k < len(node.input) else ""
        return name if name == argument else nodes.get(name)

    def is_suffix(node):
        if getattr(node, "op", "") != "Select":
            return False
        texts = [producer(node, k) for k in (1, 2)]
        return all(getattr(t, "op", "") == "Const" for t in texts) and {
            text for t in texts for text in t.attr["value"].tensor.string_val
        } <= {b".part", b"_temp/part"}

    def is_shard(node):
        if getattr(node, "op", "") != "ShardedFilename":
            return False
        join = producer(node, 0)
        return (
            getattr(join, "op", "") == "StringJoin"
            and len(join.input) == 2
            and producer(join, 0) == argument
            and is_suffix(producer(join, 1))
        )

    for node in function.node_def:
        if node.op == "RestoreV2" and producer(node, 0) != argument:
            return False
        if node.op == "SaveV2" and not is_shard(producer(node, 0)):
            return False
        if node.op == "MergeV2Checkpoints":
            pack = producer(node, 0)
            parts = [name for name in getattr(pack, "input", ()) if not name.startswith("^")]
            if getattr(pack, "op", "") != "Pack" or producer(node, 1) != argument:
                return False
            if not all(is_shard(producer(pack, k)) for k in range(len(parts))):
                return False
    return True


def _list_files(folder):
    """Returns the names of the files in a folder and its folders, without following links."""
    names, folders = set(), [folder]
    try:
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    path = Path(entry.path)
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISDIR(mode):
                        folders.append(path)
                    elif stat.S_ISREG(mode):
                        names.add(path.relative_to(folder).as_posix())
                    else:
                        kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
                        raise ArtefactError(f"{path} is {kind}: replace it with a copy.")
                    if len(names) + len(folders) > MAX_FILES:
                        raise ArtefactError(f"{folder} has more than {MAX_FILES:,} files.")
    except OSError as error:
        raise ArtefactError(f"{error.filename} cannot be read: {error.strerror}.") from None
    return names


@functools.cache
def _message(name):
    """Returns the class of a message in the schema."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(Path(__file__).with_name("saved_model.schema").read_bytes())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.{name}"))


def _unknown_field(parsed):
    """Returns "the field …" with a name that the schema does not have, or None."""
    accepted = type(parsed)()
    accepted.CopyFrom(parsed)
    accepted.DiscardUnknownFields()
    unknown = parsed.ByteSize() - accepted.ByteSize()
    if unknown > MAX_UNKNOWN:
        return f"unknown fields of {unknown:,} bytes"
    return f"the field {_name_unknown_field(parsed)}" if unknown else None


def _name_unknown_field(parsed):
    descriptor = parsed.DESCRIPTOR
    for field in unknown_fields.UnknownFieldSet(parsed):
        proto = descriptor_pb2.DescriptorProto()
        descriptor.CopyToProto(proto)
        numbers = [reserved.start for reserved in proto.reserved_range]
        names = dict(zip(numbers, proto.reserved_name, strict=True))
        return f"{names.get(field.field_number, field.field_number)} of {descriptor.name}"
    for field, value in parsed.ListFields():
        if field.message_type is None:
            continue
        if isinstance(value, message.Message):
            value = [value]
        elif field.message_type.GetOptions().map_entry:
            is_message = field.message_type.fields_by_name["value"].message_type is not None
            value = value.values() if is_message else []
        for each in value:
            if name := _name_unknown_field(each):
                return name
    return None


def _specs(tensors):
    """Returns {name: "int32 [2]"} of the inputs or outputs of a signature."""
    return {name: _spec(tensor) for name, tensor in sorted(tensors.items())}


def _spec(tensor):
    name, _ = DTYPES.get(tensor.dtype, (f"type {tensor.dtype}", 0))
    if tensor.tensor_shape.unknown_rank:
        return name
    sizes = ["n" if dim.size < 0 else str(dim.size) for dim in tensor.tensor_shape.dim]
    return f"{name} [{', '.join(sizes)}]"


def _elements(shape):
    """Returns the number of elements of a shape, without the dimensions that are not known."""
    if len(shape.dim) > MAX_RANK:
        return 2**63
    return math.prod(max(dim.size, 1) for dim in shape.dim)


def _product(tensor):
    """Returns the product of a constant of a few integers, which is a size; 0 for others."""
    size = {3: 4, 9: 8}.get(tensor.dtype)
    if size is None or _elements(tensor.tensor_shape) > 16:
        return 0
    values = [*(tensor.int_val or tensor.int64_val)]
    if content := tensor.tensor_content:
        if len(content) % size or len(content) > 16 * size:
            return 0
        values = struct.unpack(f"<{len(content) // size}{'i' if size == 4 else 'q'}", content)
    return math.prod(max(value, 1) for value in values)


def _short(text):
    """Returns a text of the file in quotes, at most 60 characters of it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")

"""Drops the messages that TensorFlow prints at every start."""

import contextlib
import importlib.util
import os
import re
import sys
import tempfile

__all__ = ["quiet_tensorflow"]

# Lines that TensorFlow prints at every start, whatever its log level.
_START_UP_NOISE = re.compile(
    rb"All log messages before absl::InitializeLog|To enable the following instructions:"
    rb"|\b(port|cudart_stub|cpu_feature_guard|cuda_dnn|cuda_blas|cuda_fft|computation_placer)\.cc:"
)
_LOADING = b"Loading TensorFlow ..."


def quiet_tensorflow() -> None:
    """Makes TensorFlow and its import quiet. If it is imported already, its start-up was not."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if tensorflow := sys.modules.get("tensorflow"):
        _drop_reports(tensorflow)
    elif _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


class _Finder:
    """A finder for `sys.meta_path` that drops the start-up messages when TensorFlow is imported."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Returns the spec of TensorFlow with a quiet loader, or None for any other module."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            import_module = spec.loader.exec_module

            def import_quietly(module):
                with _without_start_up_noise():
                    import_module(module)
                _drop_reports(module)

            spec.loader.exec_module = import_quietly
        return spec


def _drop_reports(tensorflow):
    """Drops what TensorFlow reports in a notebook, such as every SavedModel that is written."""
    tensorflow.get_logger().setLevel("WARNING")


@contextlib.contextmanager
def _without_start_up_noise():
    """Filters stderr, of C++ code too; a terminal shows one line in the meantime."""
    with contextlib.ExitStack() as stack:
        try:
            output = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:  # stderr is closed, or there is no temporary folder
            yield
            return
        is_terminal = os.isatty(stderr)
        if is_terminal:
            os.write(stderr, _LOADING)
        os.dup2(output.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if is_terminal:
                os.write(2, b"\r" + b" " * len(_LOADING) + b"\r")
            output.seek(0)
            with contextlib.suppress(OSError):  # stderr cannot be written
                for line in output:
                    if not _START_UP_NOISE.search(line):
                        os.write(2, line)

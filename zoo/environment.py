"""What a program runs on: versions of packages, and the device."""

import os
import platform
from importlib import metadata

import tensorflow as tf

__all__ = ["device", "versions"]

PACKAGES = ("keras-genzoo", "tensorflow", "keras", "tensorflow-probability", "numpy")


def device():
    """Returns the name of the device that TensorFlow computes on: "CPU, 2 cores"."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"CPU, {os.cpu_count()} cores"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")


def versions():
    """Returns a dict from "python" and the packages that decide numbers to their versions."""
    return {
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
    }

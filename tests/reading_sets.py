"""What tests of image sets ask of images and of errors."""


def pixels(images):
    """Return the pixels of each image as bytes, which can be put in a set."""
    return [x.numpy().tobytes() for x in images.x]


def one_line(error):
    """Return the text of an error, which must be one line."""
    assert "\n" not in str(error.value)
    return str(error.value)

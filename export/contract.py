"""Constants of the exporter, the server's configuration and the client. This module does not import TensorFlow."""

SIGNATURES = ("serving_default", "pcm16", "wav", "taggram", "embed")
ALLOWED_BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # a server pads batches to one of these, and each has warm-up requests
TOP_TAGS = 5  # names and scores in every answer; a model with fewer tags returns all of them

WAV_RATES_HZ = (12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
WAV_MAX_SECONDS = 600  # clients must split longer files

SILENCE = "digital silence"  # the `error` of a silent item

SAVED_MODEL_NAME = "saved_model.pb"
TAGS_NAME = "tags.txt"
THRESHOLDS_NAME = "thresholds.json"
CONFIG_NAME = "config.yaml"
CARD_NAME = "model_card.md"

MODEL_NAME = "tagger"  # default name of an exported model, and of the model that a client asks for

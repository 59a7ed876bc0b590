"""What the exporter, the server's files and the client agree on. Light: none of them waits for TensorFlow here."""

SIGNATURES = ("serving_default", "pcm16", "wav", "taggram", "embed")
ALLOWED_BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # a server pads requests to one of these, and warms each up
TOP_TAGS = 5  # names and scores in every answer, fewer for a model of fewer tags

WAV_RATES_HZ = (12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
WAV_MAX_SECONDS = 600  # longer files are for the client to split

SILENCE = "digital silence"  # the `error` of an item without any sound
# A file's peak below which nobody asks for its tags. -72 dB of full scale, 8 steps of 16 bits: an empty track with the
# dither of its mastering stays below, music above.
SILENT_FILE_PEAK = 2**-12

SAVED_MODEL_NAME = "saved_model.pb"
TAGS_NAME = "tags.txt"
THRESHOLDS_NAME = "thresholds.json"
CONFIG_NAME = "config.yaml"
CARD_NAME = "model_card.md"

MODEL_NAME = "tagger"  # models are exported under, and clients ask for, unless told otherwise

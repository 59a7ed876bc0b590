"""The page itself, as a Gradio app."""

from pathlib import Path

import gradio
from fastapi import FastAPI

from genre_tagger.data import ffmpeg
from genre_tagger.page.guarding import BodyLimit, Limits, sweeping
from genre_tagger.page.listening import QUEUED, TEMPLATES, Listener

FORMATS, BY_FFMPEG = ("MP3", "FLAC", "Ogg", "Opus", "WAV"), ("M4A", "AAC")

_HERE = Path(__file__).parent
# Comes with gradio, whose own theme takes its weight 600, which has but a few letters.
_FONT = (gradio.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif")


def build_app(listener: Listener, model: str, limits: Limits) -> FastAPI:
    """The page with its queue, for any server of ASGI; nothing of it comes from another address.

    Args:
        listener: answers uploads, one at a time.
        model: what the page calls the model.
        limits: what the page and the server refuse.
    """
    formats = FORMATS + BY_FFMPEG if ffmpeg.is_installed() else FORMATS
    page = TEMPLATES.get_template("page.html.jinja")
    with (
        gradio.Blocks(title="genre-tagger", analytics_enabled=False, fill_width=True) as blocks,
        gradio.Column(elem_id="page"),
    ):
        gradio.HTML(page.render(model=model, formats=formats, limits=limits), apply_default_css=False)
        answers = gradio.HTML(
            {"html": "", "json": None},
            html_template="${value.html}",  # put in as it is; in {{ }} a song's name would be taken for a template
            js_on_load=(_HERE / "page.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            min_height=120,
            max_megabytes=limits.megabytes,
        )

        def answer(dropped: gradio.EventData) -> dict:
            return listener.answer(dropped.path, dropped.name)

        answers.dropped(answer, None, answers, trigger_mode="multiple", api_visibility="private")
    blocks.queue(max_size=QUEUED, default_concurrency_limit=1, api_open=False)
    # Its pages of documentation load scripts from elsewhere.
    app = FastAPI(openapi_url=None, lifespan=sweeping(listener))
    app.add_middleware(BodyLimit, max_bytes=limits.megabytes * 10**6)
    return gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=gradio.themes.Default(primary_hue="indigo", font=_FONT),
        css_paths=[_HERE / "page.css"],
        max_file_size=limits.megabytes * 10**6,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
    )

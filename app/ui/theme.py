"""How the page looks: Gradio's theme in our colours and system fonts, and the style sheet of our own panels."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLES = Path(__file__).parent / "components"
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def theme() -> gr.themes.Base:
    """A calm theme with system fonts, so that no font is fetched."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        secondary_hue=gr.themes.colors.slate,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=SANS,
        font_mono=MONO,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="#0d1117",
        background_fill_primary="white",
        background_fill_primary_dark="#161b22",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="#0d1117",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        block_background_fill="white",
        block_background_fill_dark="#161b22",
        block_border_width="0px",
        block_shadow="none",
        block_label_text_weight="500",
        block_title_text_weight="500",
        border_color_primary="*neutral_200",
        border_color_primary_dark="#2b3240",
        input_background_fill="white",
        input_background_fill_dark="#0d1117",
        input_border_width="1px",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
    )


def stylesheet() -> str:
    """The style sheets of all panels in one text."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(STYLES.glob("*.css")))

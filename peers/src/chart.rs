//! The picture of a run: for each row ours, the best peer and the work without a runtime, on one scale.
//!
//! Times differ by a factor of a million from row to row, so what is drawn is the ratio to the best peer, and that on a logarithmic scale:
//! left of the middle line is faster.

use std::fmt::Write;

/// What is drawn of one row; all three in nanoseconds.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) ours: f64,
    pub(crate) best: f64,
    pub(crate) floor: Option<f64>,
}

const LEFT: f64 = 130.0;
const WIDTH: f64 = 560.0;
const TOP: f64 = 64.0;
const ROW: f64 = 22.0;
/// The ends of the scale, as ratios.
const ENDS: (f64, f64) = (1.0 / 16.0, 4.0);

fn x(ratio: f64) -> f64 {
    let (low, high) = (ENDS.0.log2(), ENDS.1.log2());
    LEFT + WIDTH * ((ratio.log2().clamp(low, high) - low) / (high - low))
}

/// Draws it; colours follow the theme of the reader.
pub(crate) fn draw(bars: &[Bar]) -> String {
    let height = TOP + ROW * bars.len() as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>pinlab beside the best peer and beside no runtime, row by row</title>\n\
         <style>text{{fill:#333}}.line{{stroke:#bbb}}.ours{{fill:#0072b2}}.floor{{fill:none;stroke:#d55e00;stroke-width:2}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.line{{stroke:#555}}.ours{{fill:#56b4e9}}.floor{{stroke:#e69f00}}}}</style>\n",
        LEFT + WIDTH + 90.0
    );
    _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">Time, in times that of the best peer (left is faster)</text>"
    );
    _ = writeln!(
        svg,
        "<circle class=\"ours\" cx=\"{}\" cy=\"32\" r=\"5\"/><text x=\"{}\" y=\"36\">pinlab</text>",
        LEFT + 6.0,
        LEFT + 16.0
    );
    _ = writeln!(
        svg,
        "<rect class=\"floor\" x=\"{}\" y=\"28\" width=\"8\" height=\"8\"/><text x=\"{}\" y=\"36\">no runtime</text>",
        LEFT + 72.0,
        LEFT + 86.0
    );
    for ratio in [0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0] {
        let (x, bold) = (x(ratio), if ratio == 1.0 { " stroke-width=\"2\"" } else { "" });
        _ = writeln!(svg, "<line class=\"line\"{bold} x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\"/>", height - 16.0);
        _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{ratio}</text>", TOP - 6.0);
    }
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        let ratio = bar.ours / bar.best;
        _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 10.0, y + 4.0, bar.label);
        if let Some(floor) = bar.floor {
            _ = writeln!(
                svg,
                "<rect class=\"floor\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"/>",
                x(floor / bar.best) - 4.0,
                y - 4.0
            );
        }
        _ = writeln!(svg, "<circle class=\"ours\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"/>", x(ratio));
        _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\">{ratio:.2}</text>", LEFT + WIDTH + 16.0, y + 4.0);
    }
    svg.push_str("</svg>\n");
    svg
}

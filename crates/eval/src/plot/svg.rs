//! Writing SVG.

use std::fmt::Write;

/// Height of a text of our plots, pixels; the page's style sheet agrees.
pub(super) const FONT: f64 = 12.0;

/// At least the width of `text`, pixels, in the usual fonts for screens, of which DejaVu Sans and Verdana are the widest.
pub(super) fn width_of(text: &str) -> f64 {
    let em = |it: char| match it {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | 'I' | ' ' | '.' | ',' | ':' | ';' | '!' | '|' | '\'' | '(' | ')' | '-' => {
            0.46
        }
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '+' | '=' | '<' | '>' => 1.08,
        'A'..='Z' | '&' | '#' | '~' | '^' => 0.86,
        ' '..='~' => 0.68,
        _ => 1.1,
    };
    FONT * text.chars().map(em).sum::<f64>()
}

/// `text`, cut to at most `width` pixels.
pub(super) fn cut(text: &str, width: f64) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    for it in text.chars() {
        if width_of(&cut) + width_of("\u{2026}") + width_of(it.encode_utf8(&mut [0; 4])) > width {
            break;
        }
        cut.push(it);
    }
    cut.trim_end().to_owned() + "\u{2026}"
}

/// A picture in the making. Coordinates are pixels from the top left.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// An empty picture that a screen reader announces as `title` and describes as `description`.
    pub(super) fn new(width: f64, height: f64, title: &str, description: &str) -> Svg {
        let mut svg = Svg { text: String::new() };
        let (title, description) = (escape(title), escape(description));
        svg.put(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-label="{title}"><desc>{description}</desc>"#
        ));
        svg
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#));
    }

    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.put(format_args!(r#"<polyline class="{class}" points="{}"/>"#, points.join(" ")));
    }

    /// A dot; `title` shows when it is pointed at.
    pub(super) fn dot(&mut self, class: &str, at: (f64, f64), radius: f64, title: &str) {
        let ((x, y), title) = (at, escape(title));
        self.put(format_args!(
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.1}"><title>{title}</title></circle>"#
        ));
    }

    /// A rectangle by its top left corner and its size; `title` shows when it is pointed at.
    pub(super) fn rect(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), title: &str) {
        let ((x, y), (width, height), title) = (corner, size, escape(title));
        self.put(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"><title>{title}</title></rect>"#
        ));
    }

    /// A text on the baseline `at`; `anchor` is `start`, `middle` or `end`.
    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: &str, text: &str) {
        let ((x, y), text) = (at, escape(text));
        self.put(format_args!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#));
    }

    /// A text turned to read upwards around `at`.
    pub(super) fn upright(&mut self, class: &str, at: (f64, f64), text: &str) {
        let ((x, y), text) = (at, escape(text));
        self.put(format_args!(
            r#"<text class="{class}" transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="middle">{text}</text>"#
        ));
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        self.text.write_fmt(element).expect("a string grows");
        self.text.push('\n');
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            it if it.is_control() => escaped.push(' '),
            it => escaped.push(it),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_data() {
        let mut svg = Svg::new(10.0, 10.0, "a\"b", "<desc>");
        svg.text("label", (1.0, 2.0), "start", "</text><script>alert('x')</script>\u{0}");
        svg.dot("s0", (1.0, 2.0), 3.0, "<&>");
        let text = svg.finish();
        assert!(!text.contains("<script") && !text.contains("a\"b") && text.contains("&lt;&amp;&gt;"), "{text}");
        assert_eq!(text.matches("<text").count(), 1);
    }
}

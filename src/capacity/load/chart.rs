//! Small charts in SVG for the report: lines over time or percentiles, and bars. Colours come from the page's style, so
//! that they follow light and dark.

use std::fmt::Write;

/// Points per line; more would be less than a pixel each.
const POINTS_MAX: usize = 600;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;

/// Lines over one horizontal scale.
pub(super) struct Lines<'a> {
    /// Names and points; a gap is not a number.
    pub(super) series: Vec<(String, Vec<(f64, f64)>)>,
    /// Vertical lines with names.
    pub(super) marks: Vec<(f64, String)>,
    /// What the numbers are of.
    pub(super) unit: &'a str,
    /// Names of places on the horizontal scale; without any it is in seconds.
    pub(super) places: Vec<(f64, String)>,
}

/// Text with what means something in HTML and SVG made harmless.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A number as short as it can be read.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let (value, suffix) = match size {
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 10_000.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

/// A step between lines of the grid: 1, 2 or 5 times a power of ten.
fn step(most: f64, count: f64) -> f64 {
    let rough = (most / count).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

/// The lines of the grid from 0 to the first that is not below `most`.
fn grid(most: f64, count: f64) -> Vec<f64> {
    let step = step(most.max(1e-6), count);
    let lines = (most / step).ceil().max(1.0) as usize;
    (0..=lines).map(|line| line as f64 * step).collect()
}

/// No more points than can be seen; of those that fall together the one farthest from the one before.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(POINTS_MAX).max(1);
    let mut thin: Vec<(f64, f64)> = Vec::new();
    for part in points.chunks(size) {
        let last = thin.last().map_or(0.0, |point| point.1);
        let far = |point: &&(f64, f64)| (point.1 - last).abs();
        let point = part.iter().max_by(|a, b| far(a).total_cmp(&far(b)));
        thin.extend(point.copied());
    }
    thin
}

fn open(label: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(label))
}

/// The horizontal lines with their numbers; the scale's end.
fn vertical_scale(svg: &mut String, most: f64, unit: &str) -> f64 {
    let lines = grid(most, 4.0);
    let end = *lines.last().expect("there are two at least");
    for line in &lines {
        let y = place_y(*line, end);
        let x = WIDTH - RIGHT;
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{x}\"/>");
        let (x, y, text) = (LEFT - 6.0, y + 4.0, number(*line));
        let _ = writeln!(svg, "<text class=\"end\" x=\"{x}\" y=\"{y:.1}\">{text}</text>");
    }
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\">{}</text>", TOP - 4.0, escape(unit));
    end
}

fn place_y(value: f64, end: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / end).clamp(0.0, 1.0)
}

impl Lines<'_> {
    /// The chart; nothing if there is nothing to draw.
    pub(super) fn draw(&self, label: &str) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        if points().count() == 0 {
            return String::new();
        }
        let mut svg = open(label);
        let end = vertical_scale(&mut svg, points().map(|point| point.1).fold(0.0, f64::max), self.unit);
        let last = points().map(|point| point.0).chain(self.places.iter().map(|place| place.0)).fold(0.0, f64::max);
        let place_x = |x: f64| LEFT + (WIDTH - LEFT - RIGHT) * x / last.max(1e-6);
        let places = if self.places.is_empty() {
            let seconds = grid(last, 8.0).into_iter().filter(|x| *x <= last);
            seconds.map(|x| (x, format!("{} s", number(x)))).collect()
        } else {
            self.places.clone()
        };
        for (x, name) in places {
            let (x, y) = (place_x(x), HEIGHT - BOTTOM + 16.0);
            let _ = writeln!(svg, "<text class=\"middle\" x=\"{x:.1}\" y=\"{y}\">{}</text>", escape(&name));
        }
        for (x, name) in &self.marks {
            let (x, y) = (place_x(*x), HEIGHT - BOTTOM);
            let _ = writeln!(svg, "<path class=\"mark\" d=\"M{x:.1} {TOP}V{y}\"/>");
            let _ = writeln!(
                svg,
                "<text class=\"mark\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 3.0,
                TOP + 10.0,
                escape(name)
            );
        }
        for (index, (_, points)) in self.series.iter().enumerate() {
            let mut path = String::new();
            for (x, y) in thin(points) {
                let command = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{command}{:.1} {:.1}", place_x(x), place_y(y, end));
            }
            let _ = writeln!(svg, "<path class=\"line c{}\" d=\"{path}\"/>", index % 6);
        }
        svg.push_str("</svg>\n");
        svg + &legend(self.series.iter().map(|(name, _)| name.as_str()))
    }
}

fn legend<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let entry = |(index, name): (usize, &str)| format!("<span class=\"k{}\">{}</span>", index % 6, escape(name));
    format!("<p class=\"legend\">{}</p>\n", names.enumerate().map(entry).collect::<Vec<_>>().join(" "))
}

/// Bars with a name each.
pub(super) fn bars(label: &str, unit: &str, bars: &[(String, u64)]) -> String {
    let most = bars.iter().map(|bar| bar.1).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let mut svg = open(label);
    let end = vertical_scale(&mut svg, most as f64, unit);
    let width = (WIDTH - LEFT - RIGHT) / bars.len() as f64;
    for (index, (name, count)) in bars.iter().enumerate() {
        let (x, y) = (LEFT + width * index as f64, place_y(*count as f64, end));
        let (w, h) = ((width - 3.0).max(1.0), HEIGHT - BOTTOM - y);
        let name = escape(name);
        let _ = writeln!(
            svg,
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"><title>{name}: {count}</title></rect>"
        );
        let (x, y) = (x + width / 2.0, HEIGHT - BOTTOM + 16.0);
        let _ = writeln!(svg, "<text class=\"middle\" x=\"{x:.1}\" y=\"{y}\">{name}</text>");
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escape("<a href='x'>\"&\u{1b}"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\u{fffd}");
        let bars = bars("<l>", "<u>", &[("<b>".to_owned(), 1)]);
        let marks = vec![(0.5, "<m>".to_owned())];
        let series = vec![("<s>".to_owned(), vec![(0.0, 1.0), (1.0, 2.0)]), ("t".to_owned(), Vec::new())];
        let lines = Lines { series, marks, unit: "<u>", places: vec![(1.0, "<p>".to_owned())] }.draw("<l>");
        for svg in [bars, lines] {
            assert!(["<l>", "<u>", "<b>", "<m>", "<s>", "<p>"].iter().all(|text| !svg.contains(text)), "{svg}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.5, 1.25, 12.34, 250.0, 9999.0, 19_000.0, 2.5e6, 3e9].map(number);
        assert_eq!(shown, ["0", "0.5", "1.25", "12.3", "250", "9999", "19k", "2.5M", "3G"]);
    }

    #[test]
    fn the_grid_reaches_what_is_drawn() {
        assert_eq!(grid(19_000.0, 4.0), [0.0, 5000.0, 10_000.0, 15_000.0, 20_000.0]);
        assert!(grid(0.0, 4.0).len() >= 2 && grid(1.0, 4.0).len() >= 2);
    }

    #[test]
    fn a_day_is_thinned_and_its_dip_stays() {
        let points: Vec<(f64, f64)> =
            (0..86_400).map(|x| (f64::from(x), if x == 5000 { 0.0 } else { 100.0 })).collect();
        let thin = thin(&points);
        assert!(thin.len() <= POINTS_MAX && thin.iter().any(|point| point.1 == 0.0));
    }

    #[test]
    fn without_points_there_is_no_chart() {
        let lines = Lines { series: Vec::new(), marks: Vec::new(), unit: "", places: Vec::new() };
        assert_eq!((lines.draw("x"), bars("x", "", &[("a".to_owned(), 0)])), (String::new(), String::new()));
    }
}

//! The ratios, as a drawing.

use crate::program::Program;
use crate::{Cell, Row, families};
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

/// Okabe and Ito's, which the colour-blind can tell apart, and black.
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(140, 130, 20),
];

/// Draws a mark for the fastest program of each family in a column for each workload.
pub(crate) fn draw(
    path: &Path,
    rows: &[&Row],
    programs: &[Program],
    cells: &[Vec<Cell>],
) -> Result<(), Box<dyn Error>> {
    let families = families(programs, cells);
    let all = || families.iter().flat_map(|(_, ratios)| ratios.iter().flatten().copied());
    let (low, high) = (all().fold(0.8, f64::min) * 0.9, all().fold(2.0, f64::max) * 1.3);

    let area = SVGBackend::new(path, (1000, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let width = rows.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption("Time of other programs over microprop's, one core (fastest of each family)", ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..width + 1.6, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc("times as long")
        .y_label_formatter(&|ratio| format!("{ratio}×"))
        .label_style(("sans-serif", 15))
        .light_line_style(BLACK.mix(0.06))
        .draw()?;
    chart.draw_series([PathElement::new([(0.0, 1.0), (width, 1.0)], BLACK.stroke_width(2))])?;
    for (at, row) in rows.iter().enumerate() {
        let x = at as f64;
        if at > 0 {
            chart.draw_series([PathElement::new([(x, low), (x, high)], BLACK.mix(0.15))])?;
        }
        let style = ("sans-serif", 15).into_font().color(&BLACK);
        let (left, bottom) = chart.backend_coord(&(x + 0.5, low));
        let centred = style.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        area.draw(&Text::new(row.name, (left, bottom + 8), centred))?;
    }
    for (index, (family, ratios)) in families.iter().enumerate() {
        let color = COLORS[index % COLORS.len()].filled();
        let is_round = index % 2 == 0;
        let offset = 0.5 + (index as f64 - (families.len() - 1) as f64 / 2.0) * 0.09;
        let marks = ratios.iter().enumerate().filter_map(|(at, ratio)| Some((at as f64 + offset, (*ratio)?)));
        let series = if is_round {
            chart.draw_series(marks.map(|at| Circle::new(at, 5, color)))?
        } else {
            chart.draw_series(marks.map(|at| TriangleMarker::new(at, 6, color)))?
        };
        series.label(*family).legend(move |(x, y)| {
            if is_round {
                Circle::new((x + 8, y), 5, color).into_dyn()
            } else {
                TriangleMarker::new((x + 8, y), 6, color).into_dyn()
            }
        });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 15))
        .draw()?;
    area.present()?;
    Ok(())
}

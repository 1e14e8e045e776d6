//! Runs the benches `hot_path` and `cold_start`, and writes their results into `README.md` and
//! `benches/figures.svg`.
//!
//! ```text
//! taskset -c 1 cargo run -p okta-authorizer-testkit --bin figures
//! ```
//!
//! On a machine with several cores, `taskset -c 1` keeps the kernel's idle states out of the
//! results.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use plotters::prelude::*;
use serde_json::Value;

/// The results in the README are between a line that starts with `START` and the line `END`.
const START: &str = "<!-- written by ";
const END: &str = "<!-- end of what it wrote -->\n";

/// The measurements of `hot_path`, by their criterion names.
const PARTS: [&str; 15] = [
    "call/accepted",
    "call/forged signature",
    "call/expired",
    "call/unknown kid",
    "call/junk",
    "call/10 KB of junk",
    "call/16 KiB of junk",
    "call/accepted, of 16 KiB",
    "part/bare RSA-2048 verification",
    "part/parse",
    "part/parse and verify",
    "part/policy, plain user",
    "part/render, plain user",
    "part/policy, admin of 100 tenants",
    "part/render, admin of 100 tenants",
];

fn main() {
    let root = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for bench in ["hot_path", "cold_start"] {
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(root)
            .args(["bench", "--package", "okta-authorizer", "--bench", bench])
            .status()
            .unwrap();
        assert!(status.success(), "cargo bench --bench {bench}");
    }
    let target = target(root);
    let cold = fs::read_to_string(target.join("figures/cold_start.md")).unwrap();
    let written = format!("{}\n{cold}\n![CPU and wall time to the first answer](benches/figures.svg)\n", hot(&target));
    replace(&root.join("README.md"), &written);
    let found: Value = serde_json::from_slice(&fs::read(target.join("figures/cold_start.json")).unwrap()).unwrap();
    plot(&found, &root.join("benches/figures.svg"));
}

/// The folder for build output and the benches' results.
fn target(root: &Path) -> PathBuf {
    root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn hot(target: &Path) -> String {
    let median = |part: &str| {
        let file = target.join("criterion").join(part).join("new/estimates.json");
        let estimates: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        estimates["median"]["point_estimate"].as_f64().unwrap() / 1e3
    };
    let accepted = median("call/accepted");
    let mut table =
        "| in process, without the runtime | median | relative to an accepted call |\n|---|---:|---:|\n".to_owned();
    for part in PARTS {
        let micros = median(part);
        let name = part.replace('/', ": ");
        writeln!(table, "| {name} | {micros:.1} µs | {:.2} × |", micros / accepted).unwrap();
    }
    table
}

fn replace(readme: &Path, figures: &str) {
    let text = fs::read_to_string(readme).unwrap();
    let (before, rest) = text.split_once(START).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let start = format!("{START}cargo run -p okta-authorizer-testkit --bin figures -->");
    fs::write(readme, format!("{before}{start}\n\n{figures}\n{END}{after}")).unwrap();
}

/// CPU and wall time to the first answer, as multiples of the baseline's.
fn plot(found: &Value, file: &Path) {
    let rows = found["rows"].as_array().unwrap();
    let ratio = |row: &Value, name: &str| row[name].as_f64().unwrap() / rows[0][name].as_f64().unwrap();
    let highest = rows.iter().flat_map(|row| [ratio(row, "cpu"), ratio(row, "wall")]).fold(0.0, f64::max);
    let area = SVGBackend::new(file, (900, 360)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    let right = i32::try_from(rows.len()).unwrap() * 3;
    let mut chart = ChartBuilder::on(&area)
        .caption("To the first answer, as a multiple of an empty handler", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(40)
        .build_cartesian_2d(0..right, 0.0..highest * 1.15)
        .unwrap();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(rows.len() * 3)
        .x_label_formatter(&|x| match usize::try_from(x / 3) {
            Ok(case) if x % 3 == 1 => names.get(case).cloned().unwrap_or_default(),
            _ => String::new(),
        })
        .y_label_formatter(&|y| format!("{y:.1} ×"))
        .draw()
        .unwrap();
    for (offset, name, color) in [(0, "cpu", BLUE), (1, "wall", CYAN)] {
        let bars = rows.iter().enumerate().map(|(case, row)| {
            let left = i32::try_from(case).unwrap() * 3 + offset;
            Rectangle::new([(left, 0.0), (left + 1, ratio(row, name))], color.mix(0.7).filled())
        });
        let series = chart.draw_series(bars).unwrap();
        series.label(name).legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.mix(0.7).filled()));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).border_style(BLACK).draw().unwrap();
    area.present().unwrap();
}

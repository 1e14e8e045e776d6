//! Measures what `docs/performance.md` shows, and writes the page's tables and both plots.
//!
//! ```text
//! cargo run -p okta-authorizer-testkit --bin figures
//! ```

use std::{env, fmt::Write, fs, path::Path, process::Command, thread};

use plotters::{prelude::*, style::text_anchor};
use serde_json::Value;

const PAGE: &str = "docs/performance.md";

/// The measurements of `hot_path` in process, by their criterion names.
const PARTS: [&str; 11] = [
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
];
/// The policies of `hot_path`, by the number of tenants that the caller administrates.
const POLICIES: [&str; 7] = ["0", "1", "10", "30", "100", "300", "100, cut"];

fn main() {
    env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).unwrap();
    let mut machine = machine();
    let (mut spawns, mut criterion) = (40, "");
    if env::var_os("FIGURES_TRIAL").is_some() {
        machine += "\n- **This was a short trial of the tool. The figures are worth nothing.**";
        (spawns, criterion) = (3, "--quick");
    }
    let start = run(&format!("cargo bench --package okta-authorizer --bench cold_start -- {spawns}"));
    run(&format!("cargo bench --package okta-authorizer --bench hot_path -- {criterion}"));
    let (calls, policies) = (calls(), policies());
    let tool = run("cargo bench --package okta-policy --bench speed");
    let fleet = run("cargo bench --package okta-authorizer --bench fleet");

    let mut page = fs::read_to_string(PAGE).unwrap();
    for (section, text) in [
        ("machine", &machine),
        ("goals", &goals(&start, &calls, &policies, &tool)),
        ("start", &start),
        ("calls", &calls),
        ("policies", &policies),
        ("okta-policy", &tool),
        ("fleet", &fleet),
    ] {
        page = replace(&page, section, text.trim());
    }
    fs::write(PAGE, page).unwrap();
    plot_start(&start);
    plot_policies(&policies);
}

/// Runs a command, which must succeed, and returns what it prints.
fn run(command: &str) -> String {
    eprintln!("{command}");
    let mut words = command.split_whitespace();
    let mut process = Command::new(words.next().unwrap());
    let output = process.args(words).stderr(std::process::Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout).unwrap()
}

/// When, of which commit, on which machine and with which tools.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or(env::consts::ARCH);
    let [date, commit, kernel, rustc, cargo_lambda, zig] = [
        "date --utc +%F",
        "git describe --always --dirty --exclude=*",
        "uname --kernel-release",
        "rustc --version",
        "cargo lambda --version",
        "python3 -m ziglang version",
    ]
    .map(|command| run(command).trim().to_owned());
    format!(
        "- Date: {date}. Commit: `{commit}`.\n\
         - Machine: {cpu}, {} CPUs, Linux {kernel}.\n\
         - Tools: {rustc}; {cargo_lambda}; zig {zig}.",
        thread::available_parallelism().unwrap()
    )
}

/// One file of criterion's results.
fn criterion(measurement: &str, file: &str) -> Value {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let file = Path::new(&target).join("criterion").join(measurement).join("new").join(file);
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn median_micros(measurement: &str) -> f64 {
    criterion(measurement, "estimates.json")["median"]["point_estimate"].as_f64().unwrap() / 1e3
}

fn calls() -> String {
    let accepted = median_micros("call/accepted");
    let mut table = "| in process | median | relative to an accepted call |\n|---|---:|---:|\n".to_owned();
    for part in PARTS {
        let micros = median_micros(part);
        let name = part.replace("call/", "a call, token ").replace("part/", "");
        writeln!(table, "| {name} | {micros:.1} µs | {:.2} × |", micros / accepted).unwrap();
    }
    table
}

fn policies() -> String {
    let verification = median_micros("part/bare RSA-2048 verification");
    let mut table =
        "| tenants | bytes of the policy | median | in RSA verifications |\n|---:|---:|---:|---:|\n".to_owned();
    for tenants in POLICIES {
        let measurement = format!("policy/{tenants}");
        let bytes = &criterion(&measurement, "benchmark.json")["throughput"]["Bytes"];
        let micros = median_micros(&measurement);
        writeln!(table, "| {tenants} | {bytes} | {micros:.2} µs | {:.2} |", micros / verification).unwrap();
    }
    table
}

/// The first number in a column of the row that starts with `row`.
fn cell(tables: &str, row: &str, column: usize) -> f64 {
    let row = tables.lines().find_map(|line| line.strip_prefix(&format!("| {row} |"))).unwrap();
    let cell = row.split('|').nth(column - 1).unwrap();
    cell.split_whitespace().next().unwrap().parse().unwrap()
}

/// Computed from the tables as the page shows them.
fn goals(start: &str, calls: &str, policies: &str, tool: &str) -> String {
    let cpu = |case| cell(start, case, 1);
    let verification = cell(start, "a bare RSA-2048 verification", 1);
    let warm = cell(start, "pinned keys", 4) / (cell(start, "static floor", 4) + verification);
    let pinned = "pinned keys";
    let table = "keys from the table over TLS";
    let mut rows = "| goal | at most | measured | held? |\n|---|---:|---:|---|\n".to_owned();
    for (goal, limit, measured, unit) in [
        ("cold start, pinned keys: CPU against the static floor", 1.9, cpu(pinned) / cpu("static floor"), "×"),
        ("… keys from the table over TLS", 4.3, cpu(table) / cpu("static floor"), "×"),
        ("cold start, pinned keys: CPU against the plain floor", 0.7, cpu(pinned) / cpu("plain floor"), "×"),
        ("… keys from the table over TLS", 1.6, cpu(table) / cpu("plain floor"), "×"),
        ("warm call: CPU against the static floor and one RSA verification", 1.1, warm, "×"),
        ("RSS after the first call, keys from the table", 6.0, cell(start, table, 6) * 1024.0 / 1e6, "MB"),
        ("the bootstrap", 6.2, cell(start, "the bootstrap", 1) / 1e6, "MB"),
        ("the policy of a user without tenants", 2.0, cell(policies, "0", 2), "µs"),
        (
            "… of an admin of 100 tenants, cut, in RSA verifications",
            5.0,
            cell(policies, "100, cut", 2) / cell(calls, "bare RSA-2048 verification", 1),
            "×",
        ),
        ("`okta-policy cover`", 1.0, cell(tool, "cover", 1) / 1e3, "s"),
        ("`okta-policy diff --api`", 1.0, cell(tool, "diff --api", 1) / 1e3, "s"),
    ] {
        let held = if measured <= limit { "yes" } else { "**no**" };
        writeln!(rows, "| {goal} | {limit:.1} {unit} | {measured:.3} {unit} | {held} |").unwrap();
    }
    rows
}

/// Replaces a part of the page. It is between two comments.
fn replace(page: &str, section: &str, text: &str) -> String {
    let (start, end) = (format!("<!-- figures: {section} -->\n"), "<!-- end -->\n");
    let (before, rest) = page.split_once(&start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{start}{text}\n{end}{after}")
}

/// CPU and wall time to the first answer.
fn plot_start(start: &str) {
    let cases =
        ["static floor", "plain floor", "pinned keys", "keys from Okta over TLS", "keys from the table over TLS"];
    let millis = |case: &str, column| cell(start, case, column) / 1e3;
    let highest = cases.iter().map(|case| millis(case, 2)).fold(0.0, f64::max);
    // White, because the page may be dark.
    let area = SVGBackend::new("docs/cold-start.svg", (900, 360)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption("From the start of the process to the first answer", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0..15, 0.0..highest * 1.1)
        .unwrap();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(15)
        .x_label_formatter(&|x| match usize::try_from(x / 3) {
            Ok(case) if x % 3 == 1 => cases.get(case).copied().unwrap_or_default().to_owned(),
            _ => String::new(),
        })
        .y_desc("milliseconds")
        .draw()
        .unwrap();
    for (offset, column, name, color) in [(0, 1, "CPU", BLUE), (1, 2, "wall, with the servers' work", CYAN)] {
        let bars = (0..).zip(cases).map(|(number, case)| {
            let left = number * 3 + offset;
            Rectangle::new([(left, 0.0), (left + 1, millis(case, column))], color.mix(0.7).filled())
        });
        let series = chart.draw_series(bars).unwrap();
        series.label(name).legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.mix(0.7).filled()));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).border_style(BLACK).draw().unwrap();
    area.present().unwrap();
}

/// The size of a policy, and the time to evaluate the rules and render it.
fn plot_policies(policies: &str) {
    // The first two are too near to each other for labels, and the last one is cut.
    let points = ["0", "1", "10", "30", "100", "300"].map(|tenants| {
        let label = if tenants.len() > 1 { format!("{tenants} tenants") } else { String::new() };
        (cell(policies, tenants, 1) / 1e3, cell(policies, tenants, 2), label)
    });
    let (right, top) = points.iter().fold((0.0, 0.0), |(x, y), point| (point.0.max(x), point.1.max(y)));
    let area = SVGBackend::new("docs/policy-size.svg", (900, 360)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption("Evaluate the rules and render the policy", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..right * 1.15, 0.0..top * 1.1)
        .unwrap();
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("policy in KB (1,000 bytes)")
        .y_desc("microseconds")
        .draw()
        .unwrap();
    let line: Vec<_> = points.iter().map(|(x, y, _)| (*x, *y)).collect();
    chart.draw_series([PathElement::new(line, BLUE.stroke_width(2))]).unwrap();
    let anchor = text_anchor::Pos::new(text_anchor::HPos::Left, text_anchor::VPos::Top);
    let style = ("sans-serif", 14).into_text_style(&area).pos(anchor);
    let labels = points.iter().map(|(x, y, label)| {
        EmptyElement::at((*x, *y))
            + Circle::new((0, 0), 4, BLUE.filled())
            + Text::new(label.clone(), (8, 2), style.clone())
    });
    chart.draw_series(labels).unwrap();
    area.present().unwrap();
}

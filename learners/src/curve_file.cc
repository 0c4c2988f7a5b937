#include "curve_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "alluvium/core/error.h"

namespace alluvium::learners {
namespace {

constexpr const char* kHeader =
    "step,seconds,loss,gradient_norm,learning_rate,validation_loss,validation_metrics";
constexpr double kWidth = 720;
constexpr double kHeight = 320;
constexpr double kMargin = 48;
constexpr double kSmoothing = 0.95;

std::string to_line(const TrainingPoint& point) {
  std::string line = fmt::format("{},{:.3f},{:.9g},{:.9g},{:.9g},", point.step, point.seconds,
                                 point.loss, point.gradient_norm, point.learning_rate);
  if (point.validation) {
    line += fmt::format("{:.9g},", point.validation->loss);
    const char* separator = "";
    for (const auto& [name, value] : point.validation->metrics) {
      line += fmt::format("{}{}={:.9g}", separator, name, value);
      separator = ";";
    }
  } else {
    line += ",";
  }
  return line;
}

// Nothing for a line that a crash cut short.
std::optional<TrainingPoint> from_line(const std::string& line) try {
  std::vector<std::string> cells;
  std::stringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) {
    cells.push_back(cell);
  }
  if (cells.size() < 5 || cells[0].find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  TrainingPoint point;
  point.step = std::stoll(cells[0]);
  point.seconds = std::stod(cells[1]);
  point.loss = std::stod(cells[2]);
  point.gradient_norm = std::stod(cells[3]);
  point.learning_rate = std::stod(cells[4]);
  if (cells.size() > 5 && !cells[5].empty()) {
    point.validation.emplace();
    point.validation->loss = std::stod(cells[5]);
    std::stringstream metrics(cells.size() > 6 ? cells[6] : "");
    for (std::string metric; std::getline(metrics, metric, ';');) {
      const std::size_t equals = metric.find('=');
      point.validation->metrics[metric.substr(0, equals)] = std::stod(metric.substr(equals + 1));
    }
  }
  return point;
} catch (const std::logic_error&) {
  return std::nullopt;
}

struct Curve {
  const char* colour;
  std::vector<std::pair<double, double>> points;
};

std::string to_svg(const std::vector<Curve>& curves) {
  double right = 1;
  double highest = 0;
  for (const Curve& curve : curves) {
    for (const auto& [x, y] : curve.points) {
      right = std::max(right, x);
      highest = std::max(highest, y);
    }
  }
  highest = highest > 0 ? highest : 1;
  const auto x_of = [&](double x) { return kMargin + x / right * (kWidth - 2 * kMargin); };
  const auto y_of = [&](double y) {
    return kHeight - kMargin - y / highest * (kHeight - 2 * kMargin);
  };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
      kWidth, kHeight);
  for (int i = 0; i <= 4; ++i) {
    const double y = highest * i / 4;
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>"
        "<text x=\"4\" y=\"{3:.1f}\">{4:.2f}</text>\n",
        kMargin, kWidth - kMargin, y_of(y), y_of(y) + 4, y);
  }
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{:.0f} steps</text>\n", kWidth - 2 * kMargin,
                     kHeight - kMargin / 2, right);
  svg += fmt::format(
      "<text x=\"{:.1f}\" y=\"20\" fill=\"{}\">training loss (smoothed)</text>"
      "<text x=\"{:.1f}\" y=\"20\" fill=\"{}\">validation loss</text>\n",
      kMargin, curves[0].colour, kMargin + 200, curves[1].colour);
  for (const Curve& curve : curves) {
    svg += fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"",
                       curve.colour);
    for (const auto& [x, y] : curve.points) {
      svg += fmt::format("{:.1f},{:.1f} ", x_of(x), y_of(y));
    }
    svg += "\"/>\n";
  }
  return svg + "</svg>\n";
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path + ".new", std::ios::binary);
  file << text;
  file.close();
  std::error_code error;
  if (file) {
    std::filesystem::rename(path + ".new", path, error);
  }
  if (!file || error) {
    throw ResourceExhausted(fmt::format("cannot write '{}'", path));
  }
}

}  // namespace

CurveFile::CurveFile(const std::string& directory, int64_t steps) : directory_(directory) {
  if (directory_.empty()) {
    return;
  }
  std::ifstream file(directory_ + "/curve.csv");
  for (std::string line; std::getline(file, line);) {
    if (const auto point = from_line(line); point && point->step <= steps) {
      points_.push_back(*point);
    }
  }
}

void CurveFile::add(const TrainingPoint& point) { points_.push_back(point); }

void CurveFile::write() const {
  if (directory_.empty()) {
    return;
  }
  std::string csv = std::string(kHeader) + "\n";
  Curve loss{"#1f77b4", {}};
  Curve validation{"#d62728", {}};
  double smooth = 0;
  double weight = 0;
  for (const TrainingPoint& point : points_) {
    csv += to_line(point) + "\n";
    smooth = kSmoothing * smooth + (1 - kSmoothing) * point.loss;
    weight = kSmoothing * weight + (1 - kSmoothing);
    loss.points.emplace_back(point.step, smooth / weight);
    if (point.validation) {
      validation.points.emplace_back(point.step, point.validation->loss);
    }
  }
  write_text(directory_ + "/curve.csv", csv);
  write_text(directory_ + "/curve.svg", to_svg({loss, validation}));
}

}  // namespace alluvium::learners

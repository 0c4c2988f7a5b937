#include "line_chart.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

namespace alluvium::experiments {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 420;
constexpr double kLeft = 70;
constexpr double kRight = 200;
constexpr double kTop = 40;
constexpr double kBottom = 50;
constexpr int kTicks = 5;
constexpr std::array kColours = {"#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad",
                                 "#d68910", "#555555", "#16a085", "#7f3f00"};

struct Axis {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void widen() {
    if (!(low <= high)) {
      low = 0;
      high = 1;
    }
    const double margin = high > low ? 0.06 * (high - low) : 0.5;
    low -= margin;
    high += margin;
  }
  double place(double value, double from, double to) const {
    return from + (value - low) / (high - low) * (to - from);
  }
};

}  // namespace

std::string plot_lines(const std::string& title, const std::string& x_label,
                       const std::string& y_label, const std::vector<ChartSeries>& series) {
  Axis across;
  Axis up;
  for (const ChartSeries& one : series) {
    for (const ChartPoint& point : one.points) {
      across.take(point.x);
      for (const double y : {point.y, point.low, point.high}) {
        up.take(y);
      }
    }
  }
  across.widen();
  up.widen();
  const auto x = [&](double value) { return across.place(value, kLeft, kWidth - kRight); };
  const auto y = [&](double value) { return up.place(value, kHeight - kBottom, kTop); };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n<text x=\"{2}\" y=\"20\" font-size=\"14\">{3}</text>\n",
      kWidth, kHeight, kLeft, title);
  for (int tick = 0; tick <= kTicks; ++tick) {
    const double share = static_cast<double>(tick) / kTicks;
    const double level = up.low + share * (up.high - up.low);
    const double value = across.low + share * (across.high - across.low);
    svg += fmt::format(
        "<line x1=\"{0}\" y1=\"{1:.1f}\" x2=\"{2}\" y2=\"{1:.1f}\" stroke=\"#eee\"/>"
        "<text x=\"{3}\" y=\"{1:.1f}\" text-anchor=\"end\">{4:.4g}</text>"
        "<text x=\"{5:.1f}\" y=\"{6}\" text-anchor=\"middle\">{7:.4g}</text>\n",
        kLeft, y(level), kWidth - kRight, kLeft - 6, level, x(value), kHeight - kBottom + 16,
        value);
  }
  svg += fmt::format(
      "<text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{2}</text>"
      "<text x=\"14\" y=\"{3}\" transform=\"rotate(-90 14 {3})\" "
      "text-anchor=\"middle\">{4}</text>\n",
      (kLeft + kWidth - kRight) / 2, kHeight - 12, x_label, kHeight / 2, y_label);
  for (std::size_t s = 0; s < series.size(); ++s) {
    const char* colour = kColours[s % kColours.size()];
    std::string path;
    for (const ChartPoint& point : series[s].points) {
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x(point.x), y(point.y));
      svg += fmt::format(
          "<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\" "
          "stroke-opacity=\"0.5\"/><circle cx=\"{0:.1f}\" cy=\"{4:.1f}\" r=\"3\" fill=\"{3}\"/>\n",
          x(point.x), y(point.low), y(point.high), colour, y(point.y));
    }
    svg += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\"/><text x=\"{}\" y=\"{}\" "
        "fill=\"{}\">{}</text>\n",
        path, colour, kWidth - kRight + 12, kTop + 16 * static_cast<double>(s), colour,
        series[s].name);
  }
  return svg + "</svg>\n";
}

}  // namespace alluvium::experiments

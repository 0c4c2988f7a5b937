#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "alluvium/experiments/frontier_bench.h"

namespace alluvium::experiments {
namespace {

constexpr double kWidth = 960;
constexpr double kHeight = 600;
constexpr double kLeft = 70;
constexpr double kRight = 220;
constexpr double kTop = 30;
constexpr double kBottom = 60;

/// From blue (first) to red (last).
std::string colour(double share) {
  const auto red = static_cast<int>(std::lround(40 + 190 * share));
  const auto blue = static_cast<int>(std::lround(230 - 190 * share));
  return fmt::format("rgb({},70,{})", red, blue);
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  }
  return out;
}

}  // namespace

std::string plot_frontier(const std::vector<FrontierRow>& rows) {
  double lowest_bytes = 1e18;
  double highest_bytes = 0;
  double highest_f1 = 1;
  double fastest = 1e18;
  double slowest = 0;
  for (const FrontierRow& row : rows) {
    if (row.bytes_per_document > 0) {
      lowest_bytes = std::min(lowest_bytes, row.bytes_per_document);
      highest_bytes = std::max(highest_bytes, row.bytes_per_document);
    }
    highest_f1 = std::max(highest_f1, row.f1_high);
    fastest = std::min(fastest, row.first_token_ms_p50);
    slowest = std::max(slowest, row.first_token_ms_p50);
  }
  if (highest_bytes == 0) {
    lowest_bytes = 1;
    highest_bytes = 10;
  }
  const double first = std::floor(std::log10(lowest_bytes));
  const double last = std::max(std::ceil(std::log10(highest_bytes)), first + 1);
  const auto x = [&](double bytes) {
    return kLeft + (std::log10(bytes) - first) / (last - first) * (kWidth - kLeft - kRight);
  };
  const auto y = [&](double f1) {
    return kHeight - kBottom - f1 / highest_f1 * (kHeight - kTop - kBottom);
  };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n",
      kWidth, kHeight);
  for (double decade = first; decade <= last; ++decade) {
    const double at = x(std::pow(10, decade));
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">10^{4:.0f}</text>\n",
        at, kTop, kHeight - kBottom, kHeight - kBottom + 18, decade);
  }
  for (double f1 = 0; f1 <= highest_f1; f1 += 5) {
    svg += fmt::format(
        "<line x1=\"{0}\" y1=\"{1:.1f}\" x2=\"{2}\" y2=\"{1:.1f}\" stroke=\"#eee\"/>"
        "<text x=\"{3}\" y=\"{1:.1f}\" text-anchor=\"end\">{4:.0f}</text>\n",
        kLeft, y(f1), kWidth - kRight, kLeft - 6, f1);
  }
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">bytes a document</text>"
      "<text x=\"16\" y=\"{}\" transform=\"rotate(-90 16 {})\" text-anchor=\"middle\">F1, "
      "%</text>\n<text x=\"{}\" y=\"{}\">ms to the first token: {:.0f} (blue) to {:.0f} "
      "(red)</text>\n",
      (kLeft + kWidth - kRight) / 2, kHeight - 16, kHeight / 2, kHeight / 2, kLeft, kTop - 10,
      fastest, slowest);
  for (const FrontierRow& row : rows) {
    if (row.bytes_per_document <= 0) {
      svg += fmt::format(
          "<line x1=\"{0}\" y1=\"{1:.1f}\" x2=\"{2}\" y2=\"{1:.1f}\" stroke=\"#888\" "
          "stroke-dasharray=\"4\"/><text x=\"{3}\" y=\"{1:.1f}\">{4}</text>\n",
          kLeft, y(row.f1), kWidth - kRight, kWidth - kRight + 6, escaped(row.setting));
      continue;
    }
    const double share =
        slowest > fastest ? (row.first_token_ms_p50 - fastest) / (slowest - fastest) : 0;
    const double at = x(row.bytes_per_document);
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\"/>"
        "<rect x=\"{4:.1f}\" y=\"{5:.1f}\" width=\"8\" height=\"8\" rx=\"{6}\" fill=\"{3}\">"
        "<title>{7}</title></rect><text x=\"{8:.1f}\" y=\"{9:.1f}\" "
        "font-size=\"9\">{7}</text>\n",
        at, y(row.f1_low), y(row.f1_high), colour(share), at - 4, y(row.f1) - 4,
        row.reader == "none" ? 4 : 0, escaped(row.setting), at + 6, y(row.f1) + 3);
  }
  return svg + "</svg>\n";
}

}  // namespace alluvium::experiments

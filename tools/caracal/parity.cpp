// parity: a model against the outputs that PyTorch gave, layer by layer.
#include <cmath>
#include <cstdio>

#include <caracal/models/parity.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, reference, task;
  double tolerance = ParityOptions().tolerance;
  bool json = false;
};

// An infinite difference stands for NaN, another shape or no such output: null in JSON.
Json to_json(double worst) { return std::isfinite(worst) ? Json(worst) : Json(); }

int parity(const Options& o) {
  const ParityReport report = check_parity(
      o.model, o.reference,
      {.task = o.task, .tolerance = o.tolerance, .dtype = o.common.dtype, .runtime = o.common.make_runtime()});
  const ParityRow *worst = report.worst(), *diverging = report.first_diverging();
  if (o.json) {
    const Json line = Json::Object{{"class", report.class_name},
                                   {"compared", int64_t(report.rows.size())},
                                   {"worst", to_json(worst->worst)},
                                   {"worst_name", worst->name},
                                   {"first_diverging", diverging != nullptr ? Json(diverging->name) : Json()}};
    std::printf("%s\n", line.dump().c_str());
    return diverging == nullptr ? 0 : 1;
  }
  std::printf("%s, %zu outputs in the order of computation\n", report.class_name.c_str(), report.rows.size());
  for (const ParityRow& row : report.rows)
    std::printf("  %-4s %9.2e  %s\n", row.within ? "ok" : "BAD", row.worst, printable(row.name).c_str());
  if (diverging == nullptr)
    std::printf("all within %.0e; worst %.2e in %s\n", o.tolerance, worst->worst, printable(worst->name).c_str());
  else
    std::printf("first diverging: %s\n", printable(diverging->name).c_str());
  return diverging == nullptr ? 0 : 1;
}

}  // namespace

void add_parity(CLI::App& app, int& status) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("parity", "Compare with PyTorch's outputs and name the first that diverges");
  o->common.add_to(*sub);
  sub->add_option("--model", o->model, "checkpoint directory")->required();
  sub->add_option("--reference", o->reference,
                  "safetensors file: inputs.<argument> tensors, expected outputs under their names, and metadata "
                  "task, load, arguments (tools/goldens/__init__.py describes it and writes it)")
      ->required();
  sub->add_option("--task", o->task, "Auto class; default: the reference file's");
  sub->add_option("--tolerance", o->tolerance, "largest |difference| / max(1, |reference|)")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  sub->add_flag("--json", o->json, "one line of JSON");
  sub->callback([o, &status] { status = parity(*o); });
}

}  // namespace caracal::cli

#include <caracal/models/pipelines/base.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <future>
#include <optional>
#include <system_error>

namespace caracal {
namespace {

// Rows of text, or of pages, that go through the model at once at least: long inputs are many rows. Of sound, whose
// rows are large, as many as the caller's batch has inputs.
constexpr int64_t kTextRows = 32;
// What post-processing reads.
constexpr Tensor ModelOutput::*kOutputs[] = {&ModelOutput::last_hidden_state, &ModelOutput::pooler_output,
                                             &ModelOutput::logits, &ModelOutput::start_logits,
                                             &ModelOutput::end_logits};

// The tensors of rows as one (B, …); smaller ones are padded with zeros, which attention_mask masks.
Tensor collate(const std::string& name, const std::vector<Tensor>& rows) {
  std::vector<int64_t> dims(rows[0].shape().begin(), rows[0].shape().end());
  for (const Tensor& row : rows) {
    for (size_t d = 0; d < dims.size(); d++) dims[d] = std::max(dims[d], row.size(int(d)));
  }
  const Shape largest{std::span<const int64_t>(dims)};
  dims.insert(dims.begin(), int64_t(rows.size()));
  const bool even = std::ranges::all_of(rows, [&](const Tensor& row) { return row.shape() == largest; });
  if (!even && (name == "pixel_values" || name == "image"))
    throw Error(ErrorCode::invalid_argument, "Pipeline: " + name, "expected images of one size");
  Tensor batch = even ? Tensor::empty(Shape{std::span<const int64_t>(dims)}, rows[0].dtype())
                      : Tensor::zeros(Shape{std::span<const int64_t>(dims)}, rows[0].dtype());
  const size_t width = size_of(batch.dtype());
  auto* out = static_cast<uint8_t*>(batch.raw());
  const size_t inner = largest.rank() > 1 ? size_t(largest.numel() / std::max<int64_t>(largest[0], 1)) * width : width;
  for (const Tensor& row : rows) {
    const auto* in = static_cast<const uint8_t*>(row.raw());
    const int64_t count = row.size(0);
    const size_t bytes = count > 0 ? row.nbytes() / size_t(count) : 0;  // of one of its rows
    if (bytes == inner) {
      if (row.nbytes() > 0) std::memcpy(out, in, row.nbytes());
    } else {
      for (int64_t i = 0; i < count; i++) std::memcpy(out + size_t(i) * inner, in + size_t(i) * bytes, bytes);
    }
    out += size_t(largest[0]) * inner;
  }
  return batch;
}

// A failure as the one family of errors.
Error error_of(const std::exception_ptr& failure, const std::string& task) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return {ErrorCode::io, task, "expected memory for this input but there is none left"};
  } catch (const std::exception& error) {
    return {ErrorCode::internal, task, error.what()};
  }
}

}  // namespace

struct Pipeline::Item {
  const PipelineInput* input = nullptr;
  std::optional<Prepared> prepared;
  Json result;
  std::exception_ptr failure;

  int64_t rows() const { return int64_t(prepared->list(prepared->keys().at(0)).size()); }
};

// Inputs that are made ready together: each by whichever thread claims it first.
struct Pipeline::Window {
  Window(const Pipeline& pipeline, std::span<const PipelineInput> inputs, const Settings& settings)
      : items(inputs.size()), pipeline_(pipeline), settings_(settings) {
    for (size_t i = 0; i < items.size(); i++) items[i].input = &inputs[i];
  }
  ~Window() {
    next_ = items.size();  // when an error ends the call: nothing more than the item at hand
  }

  /// Begins on a thread of its own, if the system gives one.
  void start() {
    try {
      ahead_ = std::async(std::launch::async, [this] { work(); });
    } catch (const std::system_error&) {
    }
  }
  /// Does what is left on the runtime's threads.
  void finish(const Runtime& runtime) {
    runtime.parallel(int64_t(items.size()), 1, [&](int64_t, int64_t, int) { work(); });
    if (ahead_.valid()) ahead_.get();
  }

  std::vector<Item> items;

 private:
  void work() {
    for (size_t i; (i = next_++) < items.size();) {
      try {
        items[i].prepared = pipeline_.preprocess(*items[i].input, settings_);
      } catch (...) {
        items[i].failure = std::current_exception();
      }
    }
  }

  const Pipeline& pipeline_;
  const Settings& settings_;
  std::atomic<size_t> next_ = 0;
  std::future<void> ahead_;  // joined by its destructor, before anything that it uses goes
};

Json Pipeline::operator()(const PipelineInput& input, const Json& arguments) const {
  Json result;
  run({&input, 1}, arguments, {.done = [&](size_t, Json each) { result = std::move(each); }});
  return result;
}

Json Pipeline::operator()(const std::string& text, const Json& arguments) const {
  return (*this)(PipelineInput{.text = text}, arguments);
}

std::vector<Json> Pipeline::operator()(const std::vector<PipelineInput>& inputs, const Json& arguments,
                                       int64_t batch_size) const {
  std::vector<Json> results;
  run(inputs, arguments,
      {.batch_size = batch_size, .done = [&](size_t, Json each) { results.push_back(std::move(each)); }});
  return results;
}

std::vector<Json> Pipeline::operator()(const std::vector<std::string>& texts, const Json& arguments,
                                       int64_t batch_size) const {
  std::vector<PipelineInput> inputs;
  for (const std::string& text : texts) inputs.push_back({.text = text});
  return (*this)(inputs, arguments, batch_size);
}

void Pipeline::run(std::span<const PipelineInput> inputs, const Json& arguments, const PipelineRun& options) const {
  if (options.batch_size < 1)
    refuse("expected a batch_size of at least 1 but got " + std::to_string(options.batch_size));
  const Arguments given(arguments, task_);
  const std::shared_ptr<const Settings> settings = this->settings(given);
  given.finish();

  // A window is as many inputs as keep all threads busy with pre-processing, in whole batches.
  const Runtime& runtime = model_->runtime();
  const size_t batch_size = size_t(std::min<int64_t>(options.batch_size, int64_t(std::max<size_t>(inputs.size(), 1))));
  const size_t busy = runtime.threads() == 1 ? 1 : 4 * size_t(runtime.threads());
  const size_t size = (busy + batch_size - 1) / batch_size * batch_size;
  auto window_at = [&](size_t begin) {
    return std::make_unique<Window>(*this, inputs.subspan(begin, std::min(size, inputs.size() - begin)), *settings);
  };
  const bool overlap =
      inputs.size() > size && options.overlap.value_or(runtime.threads() > 1 && available_cpus() > runtime.threads());
  ModelOutput output;
  std::unique_ptr<Window> window = inputs.empty() ? nullptr : window_at(0);
  for (size_t begin = 0; begin < inputs.size(); begin += size) {
    window->finish(runtime);
    std::unique_ptr<Window> next = begin + size < inputs.size() ? window_at(begin + size) : nullptr;
    if (overlap && next != nullptr) next->start();
    std::vector<Item>& items = window->items;
    std::vector<Item*> ready;
    for (Item& item : items)
      if (item.failure == nullptr) ready.push_back(&item);
    size_t delivered = 0;
    auto deliver_up_to = [&](size_t end) {
      for (; delivered < end; delivered++) {
        Item& item = items[delivered];
        if (item.failure == nullptr) {
          if (options.done) options.done(begin + delivered, std::move(item.result));
        } else {
          const Error error = error_of(item.failure, task_);
          if (!options.failed) throw error;
          options.failed(begin + delivered, error);
        }
      }
    };
    for (size_t i = 0; i < ready.size(); i += batch_size) {
      const std::span<Item*> batch = std::span(ready).subspan(i, std::min(batch_size, ready.size() - i));
      const size_t end = size_t(batch.back() - items.data()) + 1;
      run_batch(batch, *settings, options.batch_size, output);
      deliver_up_to(end);
    }
    deliver_up_to(items.size());
    window = std::move(next);
  }
}

void Pipeline::run_batch(std::span<Item*> batch, const Settings& settings, int64_t batch_size,
                         ModelOutput& output) const {
  try {
    int64_t count = 0;  // rows of all items
    for (const Item* item : batch) count += item->rows();
    const std::vector<std::string> names = batch[0]->prepared->keys();
    const bool sound = std::ranges::find(names, "input_values") != names.end();
    const int64_t at_once = sound ? batch_size : std::max(batch_size, kTextRows);
    std::vector<Tensor> rows_of[std::size(kOutputs)];  // of each output, when it takes several calls
    for (int64_t begin = 0; begin < count; begin += at_once) {
      ModelInputs inputs;
      for (const std::string& name : names) {
        std::vector<Tensor> rows;
        int64_t row = 0;
        for (const Item* item : batch)
          for (const Tensor& own : item->prepared->list(name))
            if (row++ >= begin && row <= begin + at_once) rows.push_back(own);
        inputs.set(name, collate(name, rows));
      }
      model_->forward(inputs, output, {.per_utterance = sound});
      if (count <= at_once) break;
      for (size_t i = 0; i < std::size(kOutputs); i++) {
        const Tensor& part = output.*kOutputs[i];
        for (int64_t row = 0; part.defined() && row < part.size(0); row++)
          rows_of[i].push_back(batch_row(part, row).clone());
      }
    }
    for (size_t i = 0; i < std::size(kOutputs); i++)
      if (!rows_of[i].empty()) output.*kOutputs[i] = collate("output", rows_of[i]);
    int64_t first = 0;
    for (Item* item : batch) {
      item->result = postprocess({*item->input, *item->prepared, output, first}, settings);
      first += item->rows();
    }
  } catch (...) {
    if (batch.size() == 1) return void(batch[0]->failure = std::current_exception());
    for (Item*& item : batch) run_batch({&item, 1}, settings, batch_size, output);  // one of them is bad: find it
  }
}

Pipeline::Prepared Pipeline::as_rows(BatchEncoding encoding) {
  Prepared prepared;
  for (const std::string& name : encoding.keys()) {
    std::vector<Tensor> rows;
    for (size_t i = 0; i < encoding.size(); i++) {
      const int64_t tokens = int64_t(encoding.row(i).size());
      Tensor row = tokens > 0 ? Tensor::empty({tokens}, DType::I64) : Tensor::zeros({1}, DType::I64);
      if (name == "bbox") {
        row = Tensor::from(encoding.extra(name, i), {tokens, 4});
      } else {
        std::ranges::transform(encoding.row(i), row.data<int64_t>(), [&](const tokenizers::Token& token) -> int64_t {
          return name == "input_ids" ? token.id : name == "token_type_ids" ? token.type_id : int64_t(token.attention);
        });
      }
      rows.push_back(std::move(row));
    }
    prepared.set(name, std::move(rows));
  }
  prepared.encoding = std::move(encoding);
  return prepared;
}

Pipeline::Prepared Pipeline::prepare(BatchEncoding encoding) const {
  expect_tokens(encoding);
  return as_rows(std::move(encoding));
}

void Pipeline::expect_tokens(const BatchEncoding& encoding) const {
  for (size_t i = 0; i < encoding.size(); i++)
    if (std::ranges::none_of(encoding.row(i), &tokenizers::Token::attention))
      refuse("expected a text with tokens but the tokenizer found none");
}

void Pipeline::refuse(const std::string& what) const { throw Error(ErrorCode::invalid_argument, task_, what); }

Tensor batch_row(const Tensor& batch, int64_t i) {
  return batch.rows(i, i + 1).reshape(Shape(std::span(batch.shape().begin() + 1, batch.shape().end())));
}

void log_warnings(const AnyModel& model, const PreTrainedTokenizerBase& tokenizer) {
  for (const std::string& warning : tokenizer.warnings()) model->runtime().log(LogLevel::warning, warning);
}

}  // namespace caracal

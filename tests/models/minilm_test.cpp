// The real all-MiniLM-L6-v2 against sentence-transformers' embeddings, and at work: searching the README. The model (90
// MB) is not stored: its directory is given by CARACAL_MINILM, or lies where tools/quickstart.sh and tools/test.sh put
// it.
#include <caracal/models/pipelines/pipeline.h>
#include <caracal/models/pipelines/sentence_transformer.h>
#include <caracal/tests/sanitized.h>

#include <algorithm>
#include <fstream>

#include "models_testing.h"

namespace caracal {
namespace {

std::string minilm_directory() {
  const char* given = std::getenv("CARACAL_MINILM");
  return given != nullptr ? given : CARACAL_MINILM_DEFAULT;
}

TEST(MiniLM, EqualsSentenceTransformers) {
  if (!std::filesystem::exists(minilm_directory())) GTEST_SKIP() << "no model at " << minilm_directory();
  const auto model = SentenceTransformer::from_pretrained(minilm_directory());
  EXPECT_EQ(model.max_seq_length(), 256);
  const Json stored = Json::parse_file(data_path("minilm/sentences.json"));
  const Json& list = stored.is_array() ? stored : stored.at("sentences");
  std::vector<std::string> sentences;
  for (const Json& sentence : list.as_array()) sentences.push_back(sentence.as_string());
  ASSERT_GE(sentences.size(), 100u);
  const SafetensorsFile file = SafetensorsFile::open(data_path("minilm/embeddings.safetensors"));
  Tensor want = file.tensor(*file.find("embeddings"));
  if (std::string_view(model.model().runtime().isa()) == "scalar") {  // plain loops: a few sentences will do
    sentences.resize(5);
    want = want.rows(0, 5);
  }

  const Tensor got = model.encode(sentences);
  ASSERT_EQ(got.shape(), want.shape());
  for (int64_t i = 0; i < got.numel(); i++)
    ASSERT_LE(std::abs(got.data<float>()[i] - want.data<float>()[i]), 1e-5f) << "element " << i;  // NaN fails too

  // Any batch size gives the same bytes.
  sentences.resize(std::min<size_t>(sentences.size(), 12));
  EXPECT_TRUE(bytes_equal(model.encode(sentences, {.batch_size = 5}), got.rows(0, int64_t(sentences.size()))));
}

// The README's paragraphs and points, without code and tables, each on one line.
std::vector<std::string> readme_paragraphs() {
  std::vector<std::string> paragraphs(1);
  bool code = false;
  std::ifstream readme(data_path("../../README.md"));
  for (std::string line; std::getline(readme, line);) {
    if (line.starts_with("```")) code = !code;
    if (code || line.empty() || line.starts_with("- ") || line.starts_with("#")) paragraphs.emplace_back();
    if (!code && !line.empty() && std::string_view("`#|!").find(line[0]) == std::string_view::npos)
      paragraphs.back() += (paragraphs.back().empty() ? "" : " ") + line;
  }
  std::erase(paragraphs, "");
  return paragraphs;
}

TEST(MiniLM, SearchesTheReadme) {
  if (!std::filesystem::exists(minilm_directory())) GTEST_SKIP() << "no model at " << minilm_directory();
#ifdef CARACAL_SANITIZED
  GTEST_SKIP() << "minutes under sanitizers";
#endif
  const auto search = pipeline("", minilm_directory());
  if (std::string_view(search->model().runtime().isa()) == "scalar") GTEST_SKIP() << "plain loops would take a minute";
  ASSERT_EQ(search->task(), "sentence-similarity");
  const std::vector<std::string> paragraphs = readme_paragraphs();
  ASSERT_GT(paragraphs.size(), 30u);
  const std::pair<const char*, const char*> known[] = {
      {"Does it retry when the network connection is lost or the server answers too slowly?", "Connections that drop"},
      {"How do I keep it from starting threads of its own?", "`threads = 1` starts no thread"},
      {"Are the tokens the same as those of Hugging Face?", "Tokens and offsets equal"},
      {"Which compilers and libraries is it built with?", "utf8proc (Unicode normalisation)"},
  };
  std::vector<PipelineInput> queries;
  for (const auto& [query, unused] : known) queries.push_back({.text = query, .texts = paragraphs});
  const std::vector<Json> results = (*search)(queries);
  for (size_t q = 0; q < results.size(); q++) {
    const Json::Array& scores = results[q].as_array();
    const auto best = std::ranges::max_element(scores, {}, &Json::as_double) - scores.begin();
    EXPECT_NE(paragraphs[size_t(best)].find(known[q].second), std::string::npos) << paragraphs[size_t(best)];
  }
}

}  // namespace
}  // namespace caracal

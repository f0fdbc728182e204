// The real all-MiniLM-L6-v2 against sentence-transformers' embeddings, and at work: searching sentences. The model (90
// MB) is not stored: its directory is given by CARACAL_MINILM, or lies where tools/quickstart.sh and tools/test.sh put
// it.
#include <caracal/models/pipelines/pipeline.h>
#include <caracal/models/pipelines/sentence_transformer.h>
#include <caracal/tests/sanitized.h>

#include <algorithm>

#include "models_testing.h"

namespace caracal {
namespace {

std::string minilm_directory() {
  const char* given = std::getenv("CARACAL_MINILM");
  return given != nullptr ? given : CARACAL_MINILM_DEFAULT;
}

std::vector<std::string> stored_sentences() {
  const Json stored = Json::parse_file(data_path("minilm/sentences.json"));
  const Json& list = stored.is_array() ? stored : stored.at("sentences");
  std::vector<std::string> sentences;
  for (const Json& sentence : list.as_array()) sentences.push_back(sentence.as_string());
  return sentences;
}

TEST(MiniLM, EqualsSentenceTransformers) {
  if (!std::filesystem::exists(minilm_directory())) GTEST_SKIP() << "no model at " << minilm_directory();
  const auto model = SentenceTransformer::from_pretrained(minilm_directory());
  EXPECT_EQ(model.max_seq_length(), 256);
  std::vector<std::string> sentences = stored_sentences();
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

TEST(MiniLM, SearchesSentences) {
  if (!std::filesystem::exists(minilm_directory())) GTEST_SKIP() << "no model at " << minilm_directory();
#ifdef CARACAL_SANITIZED
  GTEST_SKIP() << "minutes under sanitizers";
#endif
  const auto search = pipeline("", minilm_directory());
  if (std::string_view(search->model().runtime().isa()) == "scalar") GTEST_SKIP() << "plain loops would take a minute";
  ASSERT_EQ(search->task(), "sentence-similarity");
  const std::vector<std::string> sentences = stored_sentences();
  const std::pair<const char*, const char*> known[] = {
      // a question, and a part of the sentence that answers it
      {"I forgot my login and cannot sign in any more", "reset my password"},
      {"May a state take away someone's citizenship?", "arbitrarily deprived of his nationality"},
      {"How do big cats hunt?", "A cheetah is running"},
      {"What did the visitor smoke?", "It was an Indian cigar"},
  };
  std::vector<PipelineInput> queries;
  for (const auto& [query, unused] : known) queries.push_back({.text = query, .texts = sentences});
  const std::vector<Json> results = (*search)(queries);
  for (size_t q = 0; q < results.size(); q++) {
    const Json::Array& scores = results[q].as_array();
    const auto best = std::ranges::max_element(scores, {}, &Json::as_double) - scores.begin();
    EXPECT_NE(sentences[size_t(best)].find(known[q].second), std::string::npos) << sentences[size_t(best)];
  }
}

}  // namespace
}  // namespace caracal

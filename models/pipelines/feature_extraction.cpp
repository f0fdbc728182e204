#include <caracal/models/pipelines/feature_extraction.h>

#include <caracal/models/tokenization_auto.h>

namespace caracal {

FeatureExtractionPipeline FeatureExtractionPipeline::from_pretrained(const std::string& path,
                                                                     const LoadOptions& options) {
  const std::string directory = checkpoint_directory(path, options, HubPart::everything);
  LoadOptions base = options;
  base.subfolder.clear();
  base.add_pooling_layer = false;
  return {AutoModel::from_pretrained(directory, base), AutoTokenizer::from_pretrained(directory)};
}

std::vector<Tensor> FeatureExtractionPipeline::operator()(const std::vector<std::string>& texts) const {
  const BatchEncoding encoding = tokenizer_(texts);
  const ModelOutput output = model_(encoding);  // (B, S, H)
  const int64_t length = output.last_hidden_state.size(1), hidden = output.last_hidden_state.size(2);
  const Tensor rows = output.last_hidden_state.reshape({int64_t(texts.size()) * length, hidden});
  std::vector<Tensor> result;
  for (size_t b = 0; b < texts.size(); b++) {
    const int64_t begin = int64_t(b) * length;
    result.push_back(rows.rows(begin, begin + int64_t(encoding.row(b).size())).clone());
  }
  return result;
}

}  // namespace caracal

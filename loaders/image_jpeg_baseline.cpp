#include <caracal/loaders/image_jpeg_baseline.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include <jpeglib.h>

#include <caracal/runtime/runtime.h>

namespace caracal::media {
namespace {

constexpr int kBlockSize = 64;                   // coefficients
constexpr int kMaxDcBits = 11, kMaxAcBits = 10;  // of a coefficient in a file of 8-bit samples
// What one block can take at most, and some: bits may be read that far beyond the end before anyone looks.
constexpr int64_t kBlockBytes = kBlockSize * (16 + 16) / 8, kSlack = 6 * kBlockBytes + 64;
// Beyond it libjpeg's transform of a block whose other rows are 0 wraps where ours clamps.
constexpr int32_t kMaxFirstRow = 8191;

// Chosen once: a machine's instruction sets do not change, and images are many.
const kernels::Kernels& cpu() {
  static const Runtime runtime({.threads = 1, .backend = "native"});
  return runtime.cpu();
}

// Rows of 8 in zigzag. What lies beyond the block goes where the DC coefficient is written last.
struct Order {
  uint8_t at[kBlockSize + 32];
  constexpr Order() : at{} {
    int row = 0, column = 0;
    for (int i = 0; i < kBlockSize; i++) {
      at[i] = uint8_t(8 * row + column);
      const bool up = (row + column) % 2 == 0;
      if (up ? column == 7 : row == 7)
        (up ? row : column)++;
      else if (up ? row == 0 : column == 0)
        (up ? column : row)++;
      else
        row += up ? -1 : 1, column += up ? 1 : -1;
    }
    for (int i = kBlockSize; i < kBlockSize + 32; i++) at[i] = 0;
  }
};
constexpr Order kOrder;

// A coefficient from its `size` bits.
int32_t extend(uint64_t bits, int size) {
  return int32_t(bits) - (bits < uint64_t(1) << (size - 1) ? (int32_t(1) << size) - 1 : 0);
}

// Entropy-coded bytes without their stuffing. `bits` holds the next `count` bits from the left, then others or zeros.
struct BitReader {
  const uint8_t* next;
  uint64_t bits = 0;
  int count = 0;

  // To 56 bits or more.
  void refill() {
    uint64_t more;
    std::memcpy(&more, next, sizeof more);
    if constexpr (std::endian::native == std::endian::little) more = __builtin_bswap64(more);
    bits |= more >> count;
    next += (63 - count) >> 3;
    count |= 56;
  }
  uint64_t peek(int n) const { return bits >> (64 - n); }
  void drop(int n) { bits <<= n, count -= n; }
};

// The Huffman codes of one table.
class Codes {
 public:
  static constexpr int kLookup = 10;
  // What the next kLookup bits begin with; bits == 0 where they do not hold a whole code.
  struct Symbol {
    uint8_t bits, value;
  };

  // False for what libjpeg refuses: too many codes, one of ones only, or a symbol above `most`.
  bool make(const JHUFF_TBL& table, int most) {
    symbols_ = table.huffval;
    uint32_t code = 0;
    int32_t number = 0;
    for (int length = 1; length <= 16; length++) {
      first_[length] = number - int32_t(code);
      for (int i = 0; i < table.bits[length]; i++, code++, number++) {
        if (number > 255 || code + 1 >= 1u << length || symbols_[number] > most) return false;
        const int free = kLookup - length;
        if (free >= 0)
          std::fill_n(fast_ + (size_t(code) << free), size_t(1) << free, Symbol{uint8_t(length), symbols_[number]});
      }
      limit_[length] = code << (16 - length);
      code <<= 1;
    }
    return true;
  }
  Symbol fast(size_t bits) const { return fast_[bits]; }

  // The symbol of the next code, or -1. Up to 16 bits.
  int next(BitReader& in) const {
    if (const Symbol symbol = fast_[in.peek(kLookup)]; symbol.bits != 0) {
      in.drop(symbol.bits);
      return symbol.value;
    }
    int length = kLookup + 1;
    const auto bits = uint32_t(in.peek(16));
    while (length <= 16 && bits >= limit_[length]) length++;
    if (length > 16) return -1;
    in.drop(length);
    return symbols_[first_[length] + int32_t(bits >> (16 - length))];
  }

 private:
  Symbol fast_[1 << kLookup] = {};
  uint32_t limit_[17];  // 16 bits from here on begin with a longer code than this
  int32_t first_[17];   // symbols_[first_ + code] for codes of each length
  const uint8_t* symbols_;
};

// What becomes of the next Codes::kLookup bits in a block: up to two coefficients (or zeros where there are none) at
// k + at[0] and k + at[1], k moved by `advance`, over the end of the block at its mark. bits == 0: one code does not
// fit.
struct Step {
  uint8_t bits, at[2], advance;
  int16_t value[2];
};
constexpr int kEnd = 128;

class Steps {
 public:
  static constexpr int kLookup = Codes::kLookup;

  explicit Steps(const Codes& codes) {
    for (size_t bits = 0; bits < std::size(steps_); bits++) {
      const Step first = steps_[bits] = single(codes, bits);
      if (first.bits == 0 || first.advance >= kEnd) continue;
      const Step second = single(codes, bits << first.bits & (std::size(steps_) - 1));
      if (second.bits == 0 || first.bits + second.bits > kLookup) continue;
      steps_[bits] = {.bits = uint8_t(first.bits + second.bits),
                      .at = {first.at[0], uint8_t(first.advance + second.at[0])},
                      .advance = uint8_t(first.advance + second.advance),
                      .value = {first.value[0], second.value[0]}};
    }
  }
  const Step& operator[](size_t bits) const { return steps_[bits]; }

 private:
  static Step single(const Codes& codes, size_t bits) {
    const auto [length, symbol] = codes.fast(bits);
    const int run = symbol >> 4, size = symbol & 15;
    if (length == 0 || length + size > kLookup || size > kMaxAcBits) return {};
    if (size == 0) return {.bits = length, .at = {}, .advance = uint8_t(run == 15 ? 16 : kEnd), .value = {}};
    const size_t extra = bits >> (kLookup - length - size) & ((size_t(1) << size) - 1);
    return {.bits = uint8_t(length + size),
            .at = {uint8_t(run), uint8_t(run + 1)},
            .advance = uint8_t(run + 1),
            .value = {int16_t(extend(extra, size)), 0}};
  }

  Step steps_[1 << kLookup];
};

// The same for the next code alone, of any length. False when there is no such code.
bool read_one(BitReader& in, const Codes& codes, int& k, int16_t* block) {
  in.refill();
  const int symbol = codes.next(in);
  if (symbol < 0) return false;
  const int run = symbol >> 4, size = symbol & 15;
  if (size > kMaxAcBits) return false;
  if (size == 0) {
    k += run == 15 ? 16 : kEnd;
    return true;
  }
  block[kOrder.at[k + run]] = int16_t(extend(in.peek(size), size));
  k += run + 1;
  in.drop(size);
  return true;
}

// All of a block was read, or its end's code within it.
bool is_whole(int k) { return k == kBlockSize || (k >= kEnd && k < kEnd + kBlockSize); }

// A block of zeros gets its AC coefficients; the DC coefficient is then undefined.
bool read_ac(BitReader& reader, const Codes& codes, const Steps& steps, int16_t* block) {
  constexpr int kStepsPerRefill = 56 / Steps::kLookup;
  BitReader in = reader;  // in registers: only copies have addresses
  int k = 1;
  auto one = [&] {
    int at = k;
    reader = in;
    const bool ok = read_one(reader, codes, at, block);
    in = reader, k = at;
    return ok;
  };
  for (;;) {
    in.refill();
#pragma GCC unroll 5
    for (int i = 0; i < kStepsPerRefill; i++) {
      const Step step = steps[in.peek(Steps::kLookup)];
      if (step.bits == 0) [[unlikely]] {
        if (!one()) return false;
        if (k >= kBlockSize) return is_whole(k);
        break;
      }
      const uint64_t bits = in.bits;
      const int count = in.count, begin = k;
      in.drop(step.bits);
      block[kOrder.at[k + step.at[0]]] = step.value[0];
      block[kOrder.at[k + step.at[1]]] = step.value[1];
      k += step.advance;
      if (k < kBlockSize) continue;
      if (is_whole(k)) [[likely]] {
        reader = in;
        return true;
      }
      // The step's first code may have ended the block, and the second be another block's.
      in.bits = bits, in.count = count, k = begin;
      return one() && is_whole(k);
    }
  }
}

bool read_dc(BitReader& in, const Codes& codes, int32_t& last) {
  in.refill();
  const int size = codes.next(in);
  if (size < 0 || size > kMaxDcBits) return false;
  if (size > 0) last += extend(in.peek(size), size), in.drop(size);
  return last == int16_t(last);
}

// The scan without stuffed zeros and markers; `ends` are the ends of the parts between restart markers. False unless an
// end-of-image marker follows.
bool unstuff(std::span<const uint8_t> scan, uint8_t* out, std::vector<int64_t>& ends) {
  const uint8_t *in = scan.data(), *const end = in + scan.size();
  uint8_t* const begin = out;
  while (in < end) {
    const auto* marker = static_cast<const uint8_t*>(std::memchr(in, 0xff, size_t(end - in)));
    if (marker == nullptr || marker + 1 == end) return false;
    const size_t n = size_t(marker - in) + (marker[1] == 0);
    std::memcpy(out, in, n);
    out += n, in = marker + 2;
    if (marker[1] == 0) continue;
    ends.push_back(out - begin);
    if (marker[1] == JPEG_EOI) {
      std::memset(out, 0, kSlack);
      return true;
    }
    if (marker[1] != JPEG_RST0 + (ends.size() - 1) % 8) return false;
  }
  return false;
}

struct Component {
  int64_t h, v;           // blocks of an MCU
  int64_t width, height;  // samples
  int64_t blocks;         // of a row, with those that fill up MCUs and vectors
  const Codes *dc, *ac;
  const Steps* steps;
  int16_t quantization[kBlockSize];
  std::unique_ptr<int16_t[]> coefficients;  // (v, blocks, 64)
  std::unique_ptr<uint8_t[]> samples;       // two rows of MCUs in turns: (2 · 8 v, 8 blocks)
  int32_t last_dc = 0;

  int64_t stride() const { return 8 * blocks; }
  uint8_t* row(int64_t y) const { return samples.get() + y % (16 * v) * stride(); }
};

// Sizes are not checked for overflow: a JPEG's sides are 16-bit numbers.
class Decoder {
 public:
  Decoder(const jpeg_decompress_struct& info, uint8_t* out)
      : info_(info), width_(info.image_width), height_(info.image_height), out_(out) {}

  bool prepare() {
    const int n = info_.num_components;
    const bool grey = n == 1 && info_.jpeg_color_space == JCS_GRAYSCALE,
               colour = n == 3 && info_.jpeg_color_space == JCS_YCbCr;
    if (info_.progressive_mode || info_.arith_code || info_.data_precision != 8 || info_.comps_in_scan != n ||
        info_.Ss != 0 || info_.Se != kBlockSize - 1 || info_.Ah != 0 || info_.Al != 0 || !(grey || colour))
      return false;
    const jpeg_component_info* given = info_.comp_info;
    const int64_t h = grey ? 1 : given[0].h_samp_factor, v = grey ? 1 : given[0].v_samp_factor;
    const bool known = (h == 1 && v == 1) || (h == 2 && v == 1) || (h == 2 && v == 2);
    if (!known) return false;
    mcus_ = (width_ + 8 * h - 1) / (8 * h), mcu_rows_ = (height_ + 8 * v - 1) / (8 * v);
    components_.resize(size_t(n));
    for (int i = 0; i < n; i++) {
      if (i > 0 && (given[i].h_samp_factor != 1 || given[i].v_samp_factor != 1)) return false;
      if (info_.cur_comp_info[i] != &given[i] ||
          !prepare(components_[size_t(i)], given[i], i == 0 ? h : 1, i == 0 ? v : 1, h, v))
        return false;
    }
    // libjpeg repeats the samples of images that narrow.
    if (h == 2 && components_[1].width <= 2) return false;
    up_.resize(size_t(2 * 2 * components_.back().stride()));
    return true;
  }

  bool decode(std::span<const uint8_t> scan) {
    const auto bytes = std::make_unique_for_overwrite<uint8_t[]>(scan.size() + size_t(kSlack));
    std::vector<int64_t> ends;
    if (!unstuff(scan, bytes.get(), ends)) return false;
    const int64_t mcus = mcus_ * mcu_rows_, interval = info_.restart_interval == 0 ? mcus : info_.restart_interval;
    if (int64_t(ends.size()) != (mcus + interval - 1) / interval) return false;
    BitReader in{bytes.get()};
    const uint8_t* const limit = bytes.get() + ends.back() + 8;
    // All of a part must have been used, but for bits that fill up its last byte.
    auto used_up = [&](size_t part) {
      const int64_t used = 8 * (in.next - bytes.get()) - in.count;
      return used <= 8 * ends[part] && used > 8 * (ends[part] - 1);
    };
    size_t part = 0;
    int64_t left = interval;
    for (int64_t y = 0; y < mcu_rows_; y++) {
      for (Component& c : components_)
        std::memset(c.coefficients.get(), 0, size_t(c.v * c.blocks * kBlockSize) * sizeof(int16_t));
      for (int64_t x = 0; x < mcus_; x++) {
        if (left-- == 0) {
          if (!used_up(part)) return false;
          in = {bytes.get() + ends[part++]};
          for (Component& c : components_) c.last_dc = 0;
          left = interval - 1;
        }
        if (!read_mcu(in, x) || in.next > limit) return false;
      }
      if (!transform(y)) return false;
      write_rows(y);
    }
    return used_up(part);
  }

 private:
  bool prepare(Component& c, const jpeg_component_info& given, int64_t h, int64_t v, int64_t max_h, int64_t max_v) {
    c.h = h, c.v = v;
    c.width = (width_ * h + max_h - 1) / max_h, c.height = (height_ * v + max_v - 1) / max_v;
    c.blocks = (mcus_ * h + 3) / 4 * 4;
    const int table = given.quant_tbl_no, dc = given.dc_tbl_no, ac = given.ac_tbl_no;
    if (table < 0 || table >= NUM_QUANT_TBLS || dc < 0 || dc >= kTables || ac < 0 || ac >= kTables ||
        info_.quant_tbl_ptrs[table] == nullptr)
      return false;
    for (int i = 0; i < kBlockSize; i++) c.quantization[i] = int16_t(info_.quant_tbl_ptrs[table]->quantval[i]);
    c.dc = codes(dc_[dc], info_.dc_huff_tbl_ptrs[dc], 15), c.ac = codes(ac_[ac], info_.ac_huff_tbl_ptrs[ac], 255);
    if (c.dc == nullptr || c.ac == nullptr) return false;
    if (steps_[ac] == nullptr) steps_[ac] = std::make_unique<Steps>(*c.ac);
    c.steps = steps_[ac].get();
    c.coefficients = std::make_unique_for_overwrite<int16_t[]>(size_t(v * c.blocks * kBlockSize));
    c.samples = std::make_unique_for_overwrite<uint8_t[]>(size_t(16 * v * c.stride()));
    return true;
  }

  static const Codes* codes(std::unique_ptr<Codes>& made, const JHUFF_TBL* table, int most) {
    if (made == nullptr) {
      made = std::make_unique<Codes>();
      if (table == nullptr || !made->make(*table, most)) return nullptr;
    }
    return made.get();
  }

  bool read_mcu(BitReader& in, int64_t x) {
    for (Component& c : components_) {
      for (int64_t v = 0; v < c.v; v++) {
        for (int64_t h = 0; h < c.h; h++) {
          int16_t* block = c.coefficients.get() + (v * c.blocks + x * c.h + h) * kBlockSize;
          if (!read_dc(in, *c.dc, c.last_dc) || !read_ac(in, *c.ac, *c.steps, block)) return false;
          block[0] = int16_t(c.last_dc);
        }
      }
    }
    return true;
  }

  bool transform(int64_t mcu_row) const {
    for (const Component& c : components_) {
      for (int64_t v = 0; v < c.v; v++) {
        const int64_t row = (mcu_row * c.v + v) * 8;
        if (cpu_.jpeg_idct_u8(c.row(row), c.stride(), c.coefficients.get() + v * c.blocks * kBlockSize, c.quantization,
                              c.blocks) > kMaxFirstRow)
          return false;
      }
    }
    return true;
  }

  // The rows that row `mcu_row` of MCUs completes: with rows of colours doubled, all but its last.
  void write_rows(int64_t mcu_row) {
    const Component& luma = components_[0];
    const int64_t end = mcu_row + 1 == mcu_rows_ ? height_ : (mcu_row + 1) * 8 * luma.v - (luma.v == 2);
    for (; written_ < end; written_++) write_row(written_);
  }

  void write_row(int64_t y) {
    const Component& luma = components_[0];
    if (components_.size() == 1) {
      std::memcpy(out_ + y * width_, luma.row(y), size_t(width_));
      return;
    }
    const uint8_t* colours[2];
    for (size_t i = 0; i < 2; i++) {
      const Component& c = components_[i + 1];
      const int64_t at = luma.v == 2 ? y / 2 : y,
                    other = std::clamp<int64_t>(at + (y % 2 == 0 ? -1 : 1), 0, c.height - 1);
      colours[i] = c.row(at);
      if (luma.h == 1) continue;
      uint8_t* up = up_.data() + i * size_t(2 * c.stride());
      cpu_.jpeg_upsample_u8(up, c.row(at), luma.v == 2 ? c.row(other) : nullptr, c.width);
      colours[i] = up;
    }
    cpu_.jpeg_rgb_u8(out_ + y * width_ * 3, luma.row(y), colours[0], colours[1], width_);
  }

  static constexpr int kTables = 2;  // of each kind, in baseline files
  const jpeg_decompress_struct& info_;
  const kernels::Kernels& cpu_ = cpu();
  int64_t width_, height_, mcus_ = 0, mcu_rows_ = 0, written_ = 0;
  uint8_t* out_;
  std::unique_ptr<Codes> dc_[kTables], ac_[kTables];
  std::unique_ptr<Steps> steps_[kTables];
  std::vector<Component> components_;
  std::vector<uint8_t> up_;
};

}  // namespace

bool decode_baseline_jpeg(const jpeg_decompress_struct& info, std::span<const uint8_t> scan, uint8_t* out) {
  Decoder decoder(info, out);
  return decoder.prepare() && decoder.decode(scan);
}

}  // namespace caracal::media

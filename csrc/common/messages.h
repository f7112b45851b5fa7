// Every sentence that refuses an argument, once. Fields stand in {}: C++ fills them in their order (require, in
// checks.h), Python by their names, from the table that arseg::_messages gives it (arseg_ext/_checks.py). What only
// Python can know is said there.
#pragma once

#include <string_view>

// clang-format off
#define ARSEG_MESSAGES(MESSAGE)                                                                                      \
  MESSAGE(dims, "{op}: {name} must have {count} dimensions {layout}, got shape {got}")                              \
  MESSAGE(shape, "{op}: {name} must have shape {expected}, got {got}")                                              \
  MESSAGE(not_empty, "{op}: {name} must not be empty, got shape {got}")                                             \
  MESSAGE(floating, "{op}: {name} must be float32, float64, float16 or bfloat16, got {got}")                        \
  MESSAGE(dtype, "{op}: {name} must be {expected}, got {got}")                                                      \
  MESSAGE(same_dtype, "{op}: {name} must have the dtype of {other}, {expected}, got {got}")                         \
  MESSAGE(same_device, "{op}: {name} must be on the device of {other}, {expected}, got {got}")                      \
  MESSAGE(batch, "{op}: {name} must have the batch size of {other}, {expected}, got {got}")                         \
  MESSAGE(batch_and_channels, "{op}: {name} must have the batch size and channels of {other}, {expected}, got {got}") \
  MESSAGE(choice, "{op}: {name} must be '{first}' or '{second}', got {got}")                                        \
  MESSAGE(window, "{op}: window must be odd and between 3 and 15, an int or (height, width), got {got}")            \
  MESSAGE(block, "{op}: block must be 4, 8 or 16, got {got}")                                                       \
  MESSAGE(frame_size, "{op}: frame_size must be (height, width) in video pixels, both positive, got {got}")         \
  MESSAGE(blocks, "{op}: motion must have {exact} blocks of {block} pixels for frame_size {frame_size}, or {padded} " \
                  "where the frame is padded to whole macroblocks of {macroblock}, got {got}")                      \
  MESSAGE(size, "{op}: size must be (height, width), got {got}")                                                    \
  MESSAGE(positive_size, "{op}: size must be (height, width), both positive, got {got}")                            \
  MESSAGE(classes, "{op}: {name} must have 1 to {most} classes, got {got}")                                         \
  MESSAGE(classifier, "{op}: classifier_weight must have shape [K, {channels}] or [K, {same}, 1, 1], got {got}")    \
  MESSAGE(field_options, "{op}: block and frame_size belong to an int16 motion field, got motion in {got}")         \
  MESSAGE(no_field_options, "{op}: an int16 motion field needs block and frame_size, got block {block}, "           \
                            "frame_size {frame_size}")                                                              \
  MESSAGE(max_classes, "{op}: {name} must have at most {most} classes, got {got}")
// clang-format on

namespace arseg {

enum class Message {
#define ARSEG_MESSAGE(name, text) name,
  ARSEG_MESSAGES(ARSEG_MESSAGE)
#undef ARSEG_MESSAGE
};

constexpr std::string_view sentence_of(Message message) {
  constexpr std::string_view sentences[] = {
#define ARSEG_MESSAGE(name, text) text,
      ARSEG_MESSAGES(ARSEG_MESSAGE)
#undef ARSEG_MESSAGE
  };
  return sentences[static_cast<int>(message)];
}

constexpr int fields_of(std::string_view sentence) {
  int fields = 0;
  for (const char letter : sentence) fields += letter == '{';
  return fields;
}

}  // namespace arseg

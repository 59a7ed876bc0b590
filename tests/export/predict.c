// Loads a SavedModel with the C API of TensorFlow and prints one output for one item.
// predict DIR INPUT_OP OUTPUT_OP OUTPUT_INDEX float SAMPLES FILE    (raw float32, one window)
// predict DIR INPUT_OP OUTPUT_OP OUTPUT_INDEX string FILE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void check(TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s\n", TF_Message(status));
    exit(1);
  }
}

static char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  if (!file) exit(2);
  fseek(file, 0, SEEK_END);
  *size = ftell(file);
  rewind(file);
  char* bytes = malloc(*size);
  if (fread(bytes, 1, *size, file) != *size) exit(3);
  fclose(file);
  return bytes;
}

int main(int argc, char** argv) {
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  const char* tags[] = {"serve"};
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  size_t size;
  char* bytes = read_file(argv[argc - 1], &size);
  TF_Tensor* input;
  if (strcmp(argv[5], "float") == 0) {
    int64_t shape[] = {1, atoll(argv[6])};
    input = TF_AllocateTensor(TF_FLOAT, shape, 2, size);
    memcpy(TF_TensorData(input), bytes, size);
  } else {
    int64_t shape[] = {1};
    input = TF_AllocateTensor(TF_STRING, shape, 1, sizeof(TF_TString));
    TF_StringInit(TF_TensorData(input));
    TF_StringCopy(TF_TensorData(input), bytes, size);
  }
  TF_Output feed = {TF_GraphOperationByName(graph, argv[2]), 0};
  TF_Output fetch = {TF_GraphOperationByName(graph, argv[3]), atoi(argv[4])};
  TF_Tensor* output = NULL;
  TF_SessionRun(session, NULL, &feed, &input, 1, &fetch, &output, 1, NULL, 0, NULL, status);
  check(status);
  const float* values = TF_TensorData(output);
  for (int64_t i = 0; i < TF_Dim(output, 1); ++i) printf("%.9g\n", values[i]);
  return 0;
}

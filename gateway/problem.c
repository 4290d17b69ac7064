/* SPDX-License-Identifier: MIT */
/* Codes of google.rpc as HTTP problems; see problem.h. */
#include "problem.h"

#include <stdio.h>

static const struct {
    Chord__V1__Code code;
    int status;
    const char *text;
} problems[] = {
    {CHORD__V1__CODE__CODE_CANCELLED, 503, "the node cancelled the request"},
    {CHORD__V1__CODE__CODE_UNKNOWN, 503,
     "whether the change was made is not known; read the key to see"},
    {CHORD__V1__CODE__CODE_INVALID_ARGUMENT, 400, "the node does not accept the request"},
    {CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED, 504, "the node did not answer in time"},
    {CHORD__V1__CODE__CODE_NOT_FOUND, 404, "there is no such key"},
    {CHORD__V1__CODE__CODE_ALREADY_EXISTS, 409, "it exists already"},
    {CHORD__V1__CODE__CODE_PERMISSION_DENIED, 403, "the node does not allow it"},
    {CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED, 503, "the node has too much to do; try again"},
    {CHORD__V1__CODE__CODE_FAILED_PRECONDITION, 412, "the key has another version"},
    {CHORD__V1__CODE__CODE_ABORTED, 409, "another change came between"},
    {CHORD__V1__CODE__CODE_OUT_OF_RANGE, 400, "a number is out of range"},
    {CHORD__V1__CODE__CODE_UNIMPLEMENTED, 501, "the node does not know how to do this"},
    {CHORD__V1__CODE__CODE_INTERNAL, 500, "the node failed"},
    {CHORD__V1__CODE__CODE_UNAVAILABLE, 503, "no node can answer for the key now; try again"},
    {CHORD__V1__CODE__CODE_DATA_LOSS, 500, "the stored value is damaged"},
    {CHORD__V1__CODE__CODE_WRONG_RING, 503,
     "the node that was asked belongs to another ring than this gateway"},
    {CHORD__V1__CODE__CODE_UNAUTHENTICATED, 502,
     "the node refuses this gateway's ring key; check RING_KEY_FILE"},
};

static size_t problem_index(Chord__V1__Code code) {
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        if (problems[i].code == code) {
            return i;
        }
    }
    return 12; /* INTERNAL */
}

void problem_code(struct http_request *request, Chord__V1__Code code, const char *message,
                  uint32_t retry_after_ms) {
    size_t index = problem_index(code);
    char headers[64] = "";
    if (problems[index].status == 503) {
        unsigned seconds = retry_after_ms == 0 ? 1 : (retry_after_ms + 999) / 1000;
        snprintf(headers, sizeof(headers), "Retry-After: %u\r\n", seconds);
    }
    bool has_text = message != NULL && message[0] != '\0';
    http_problem_more(request, problems[index].status, rpc_code_text(code), headers, NULL, "%s",
                      has_text ? message : problems[index].text);
}

void problem_answer(struct http_request *request, const struct chord_answer *answer) {
    if (!answer->answered) {
        http_problem_more(request, 503, chord_code_text(answer->code), "Retry-After: 1\r\n", NULL,
                          "node %s does not answer (%.150s)", answer->address, answer->message);
    } else if (answer->code == CHORD_CODE_FAILED_PRECONDITION) {
        http_problem(request, 409, "FAILED_PRECONDITION", "node %s: %.150s", answer->address,
                     answer->message);
    } else {
        problem_code(request, (Chord__V1__Code)answer->code, answer->message,
                     answer->retry_after_ms);
    }
}

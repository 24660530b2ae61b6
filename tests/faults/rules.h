// Which calls of a driver fail, and how. FAULTS is a comma list of rules NAME:NTH:CODE[:KIND]: the nth call of a function
// (0: each) returns the code. With the kind stick all its later calls do so too; with poison those of all functions, as
// after a fault that a device does not get over.
//
// A code is a number; or skip: the call does nothing and reports success; or nan or zero: a download brings such bytes.
// With FAULTS_TRACE each call that can fail is a line on stderr, "call NAME".
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

constexpr int SKIP = 1 << 20, NOT_A_NUMBER = SKIP + 1, ZERO = SKIP + 2;

// The code with which a call is to fail; 0: it is not to. Functions that outlive a poison are not affected by it.
inline int decide(const std::string &name, bool outlives_poison = true) {
    static std::mutex mutex;
    static std::map<std::string, int> calls;
    static int poison;
    std::lock_guard<std::mutex> guard(mutex);
    const int n = ++calls[name];
    if (getenv("FAULTS_TRACE")) fprintf(stderr, "call %s\n", name.c_str());
    if (poison && !outlives_poison) return poison;
    const char *faults = getenv("FAULTS");
    std::string rest = faults ? faults : "";
    while (!rest.empty()) {
        std::string rule = rest.substr(0, rest.find(','));
        rest.erase(0, rule.size() + 1);
        char who[128] = "", text[32] = "", kind[32] = "";
        int nth = 0;
        if (sscanf(rule.c_str(), "%127[^:]:%d:%31[^:]:%31s", who, &nth, text, kind) < 3) {
            fprintf(stderr, "FAULTS: %s is no rule\n", rule.c_str());
            _Exit(99);
        }
        const std::string word = text;
        const int code = word == "skip" ? SKIP : word == "nan" ? NOT_A_NUMBER : word == "zero" ? ZERO : atoi(text);
        if (name != who || !(nth == 0 || n == nth || (n > nth && !strcmp(kind, "stick")))) continue;
        if (!strcmp(kind, "poison")) poison = code;
        return code;
    }
    return 0;
}

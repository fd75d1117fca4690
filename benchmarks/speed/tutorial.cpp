// The tutorial's training written for this one network: 10-15-1, ReLU, sigmoid, mean squared error, SGD, 100 rows at once.
// All sizes are known to the compiler. Reads x (100 × 10), y (100), W1 (15 × 10), b1, W2 (15), b2 as float32 from standard
// input, trains 5 000 epochs, prints seconds and the last loss.
#include <chrono>
#include <cmath>
#include <cstdio>

constexpr int ROWS = 100, PADDED = 112, IN = 10, HIDDEN = 15, EPOCHS = 5000;
constexpr float RATE = 0.01f;
alignas(64) float x[IN][PADDED], y[PADDED], w1[HIDDEN][IN], b1[HIDDEN], w2[HIDDEN], b2;
alignas(64) float h[HIDDEN][PADDED], p[PADDED], dz[PADDED], dh[HIDDEN][PADDED];

float step() {
    for (int o = 0; o < HIDDEN; o++) {
        alignas(64) float z[PADDED];
        for (int b = 0; b < PADDED; b++) z[b] = b1[o];
        for (int i = 0; i < IN; i++)
            for (int b = 0; b < PADDED; b++) z[b] += w1[o][i] * x[i][b];
        for (int b = 0; b < PADDED; b++) h[o][b] = z[b] > 0 ? z[b] : 0;
    }
    for (int b = 0; b < PADDED; b++) p[b] = b2;
    for (int o = 0; o < HIDDEN; o++)
        for (int b = 0; b < PADDED; b++) p[b] += w2[o] * h[o][b];
    float loss = 0;
    for (int b = 0; b < PADDED; b++) p[b] = 1 / (1 + std::exp(-p[b]));
    for (int b = 0; b < ROWS; b++) loss += (p[b] - y[b]) * (p[b] - y[b]);
    for (int b = 0; b < PADDED; b++) dz[b] = b < ROWS ? 2.0f / ROWS * (p[b] - y[b]) * p[b] * (1 - p[b]) : 0;
    float db2 = 0;
    for (int b = 0; b < PADDED; b++) db2 += dz[b];
    for (int o = 0; o < HIDDEN; o++) {
        float dw2 = 0, db1 = 0;
        for (int b = 0; b < PADDED; b++) {
            dh[o][b] = h[o][b] > 0 ? w2[o] * dz[b] : 0;
            dw2 += dz[b] * h[o][b];
            db1 += dh[o][b];
        }
        for (int i = 0; i < IN; i++) {
            float dw1 = 0;
            for (int b = 0; b < PADDED; b++) dw1 += dh[o][b] * x[i][b];
            w1[o][i] -= RATE * dw1;
        }
        b1[o] -= RATE * db1;
        w2[o] -= RATE * dw2;
    }
    b2 -= RATE * db2;
    return loss / ROWS;
}

int main() {
    float row[IN];
    for (int b = 0; b < ROWS; b++) {
        if (fread(row, sizeof(float), IN, stdin) != IN) return 1;
        for (int i = 0; i < IN; i++) x[i][b] = row[i];
    }
    size_t got = fread(y, sizeof(float), ROWS, stdin) + fread(w1, sizeof(float), HIDDEN * IN, stdin);
    got += fread(b1, sizeof(float), HIDDEN, stdin) + fread(w2, sizeof(float), HIDDEN, stdin) + fread(&b2, sizeof(float), 1, stdin);
    if (got != ROWS + HIDDEN * IN + 2 * HIDDEN + 1) return 1;
    auto started = std::chrono::steady_clock::now();
    float loss = 0;
    for (int epoch = 0; epoch < EPOCHS; epoch++) loss = step();
    std::printf("%.9f %.9f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(), loss);
}

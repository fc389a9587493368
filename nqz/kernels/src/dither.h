// Dither: 4-bit levels from a counter-based generator, sixteen from one 64-bit word.

NQZ_INLINE uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

NQZ_INLINE uint64_t word(const Key& key, uint64_t i) {
    return mix64(key.key1 ^ mix64(key.key0 + (key.counter + i + 1) * 0x9E3779B97F4A7C15u));
}

void words(Key key, int64_t count, uint64_t* out) {
    for (int64_t i = 0; i < count; i++) out[i] = word(key, (uint64_t)i);
}

// Writes `count` levels.
void levels(Key key, int64_t count, uint8_t* out) {
    uint64_t batch[64];
    uint8_t bytes[512];
    for (int64_t done = 0; done < count; done += 1024) {
        int64_t left = count - done < 1024 ? count - done : 1024;
        for (int i = 0; i < 64; i++) batch[i] = word(key, (uint64_t)(done / 16 + i));
        memcpy(bytes, batch, sizeof bytes);
        uint8_t* to = out + done;
        int64_t pairs = left / 2;
        for (int64_t i = 0; i < pairs; i++) {
            to[2 * i] = bytes[i] & 15;
            to[2 * i + 1] = bytes[i] >> 4;
        }
        if (left & 1) to[left - 1] = bytes[pairs] & 15;
    }
}

// Codewords: the code bits of d4 (even parity) and e8 (RM(1,3)), and the modelled probabilities of all code bits.

// The 12-bit chance of a one, from the weights of zero and one; 2048 if they are 0.
NQZ_INLINE int32_t chance_of(double zero, double one) {
    double sum = zero + one;
    double ratio = sum == 0 ? 0.5 : one / sum;
    int32_t p1 = (int32_t)(4096 * ratio + 0.5);
    p1 = p1 < 1 ? 1 : p1;
    return p1 > 4095 ? 4095 : p1;
}

template <int LATTICE>
struct Code {
    enum { BLOCKS = LATTICE == E8 ? 1 : LATTICE == D4 ? 2 : 0 };
    enum { SIZE = LATTICE == E8 ? 8 : 4, BITS = LATTICE == E8 ? 4 : 3 };
};

// Bit i of the codeword of index c.
template <int LATTICE>
NQZ_INLINE uint32_t code_bit(uint32_t c, int i) {
    if (LATTICE == E8) {
        uint32_t hits = (c >> 1) & (uint32_t)i;
        return (c ^ hits ^ (hits >> 1) ^ (hits >> 2)) & 1;
    }
    return (i < 3 ? c >> i : c ^ (c >> 1) ^ (c >> 2)) & 1;
}

// Indices of the codewords of one block of a group row, from the parities of its points.
template <int LATTICE, int L>
NQZ_INLINE void codewords(const int32_t* points, const uint8_t* level, int lanes, uint32_t* index) {
    const int n = L ? L : lanes;
    for (int l = 0; l < n; l++) {
        uint32_t bit[5] = {};
        for (int i = 0; i < 5; i++)
            if (i < Code<LATTICE>::SIZE) bit[i] = ((uint32_t)points[i * n + l] + level[i * n + l]) >> 3 & 1;
        if (LATTICE == E8)
            index[l] = bit[0] | (bit[0] ^ bit[1]) << 1 | (bit[0] ^ bit[2]) << 2 | (bit[0] ^ bit[4]) << 3;
        else
            index[l] = bit[0] | bit[1] << 1 | bit[2] << 2;
    }
}

// Chances of a one, of 4096, for one block of a group row: chance[h][l], h = 1 at the top bit, then 2 h + bit.
// `table` holds the table of every position of the block.
template <int LATTICE, int L>
NQZ_INLINE void chances(const int32_t* table, const double* weight, const uint8_t* level, int lanes,
                        int32_t (*chance)[32]) {
    const int n = L ? L : lanes;
    enum { WORDS = 1 << Code<LATTICE>::BITS };
    double heap[2 * WORDS][32];
    for (int i = 0; i < Code<LATTICE>::SIZE; i++) {
        double w[2][32];
        for (int l = 0; l < n; l++) {
            const double* of = weight + 16 * (int64_t)table[i * n + l];
            w[0][l] = of[-level[i * n + l] & 15];
            w[1][l] = of[(8 - level[i * n + l]) & 15];
        }
        for (int c = 0; c < WORDS; c++) {
            const double* chosen = w[code_bit<LATTICE>((uint32_t)c, i)];
            double* product = heap[WORDS + c];
            if (i == 0)
                for (int l = 0; l < n; l++) product[l] = chosen[l];
            else
                for (int l = 0; l < n; l++) product[l] = product[l] * chosen[l];
        }
    }
    for (int h = WORDS - 1; h >= 1; h--)
        for (int l = 0; l < n; l++) {
            chance[h][l] = chance_of(heap[2 * h][l], heap[2 * h + 1][l]);
            heap[h][l] = heap[2 * h][l] + heap[2 * h + 1][l];
        }
}

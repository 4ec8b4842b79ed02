"""The case files about the order snapshot, through a whole night."""


def read_items(player, session_id):
    return player.order(session_id)["items"]


def test_case_of_prices_in_another_currency(play_case):
    player = play_case("07")
    expected = {
        "cs_test_multieur01": ("eur", 1400),
        "cs_test_multijpy01": ("jpy", 2250),
        "cs_test_adaptold01": ("cad", 1370),
    }
    for session_id, (currency, unit_price) in expected.items():
        [item] = read_items(player, session_id)
        assert (item["currency"], item["unitPrice"]) == (currency, unit_price)
        assert item["unitPrice"] * item["quantity"] == item["amountSubtotal"]
        assert "unitPriceDecimal" not in item


def test_case_of_custom_fields(play_case):
    order = play_case("12").order("cs_test_custom0001")
    assert order["customFields"] == [
        {"key": "engraving", "label": "Personalised engraving", "value": "For Jane"},
        {"key": "size", "label": "Size", "value": "Large"},
    ]


def test_case_of_shipping_tax_and_discount(play_case):
    order = play_case("13").order("cs_test_ship000001")
    totals = ("amountSubtotal", "amountDiscount", "amountShipping", "amountTax", "amount")
    assert [order[name] for name in totals] == [6000, 1200, 700, 920, 6420]
    assert order["shippingMethod"] | {"rateId": "shr_express", "amount": 700} == order["shippingMethod"]
    [discount] = order["stripeDiscounts"]
    assert discount["promotionCodeId"] == "promo_AUTUMN20"
    [item] = order["items"]
    assert (item["amountDiscount"], item["amountTax"]) == (1200, 920)


def test_case_of_which_variant(play_case):
    player = play_case("15")
    [shirt] = read_items(player, "cs_test_variant001")
    assert (shirt["variant"], shirt["lookupKey"]) == ("Size L / blue", "shirt_l_blue")
    assert shirt["metadata"] == {"size": "L", "sku": "SHIRT-L-BLUE", "gift_wrap": "yes"}
    [mug] = read_items(player, "cs_test_noname0001")
    assert mug["name"] == "Blue mug"


def test_case_of_a_subscription_and_its_ids(play_case):
    player = play_case("18")
    subscription = player.order("cs_test_subids0001")
    assert subscription["stripeMode"] == "subscription"
    assert subscription["stripeSubscriptionId"].startswith("sub_")
    assert subscription["stripeInvoiceId"].startswith("in_")
    assert subscription["stripeCustomerId"] == "cus_1"
    order = player.order("cs_test_acct000001")
    assert (order["stripeInvoiceId"], order["stripePaymentLinkId"]) == ("in_1", "plink_1")
    assert order["recoveredFrom"] == "cs_test_expired"

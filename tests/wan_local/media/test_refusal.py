from wan_local.media.refusal import Refusal


def test_a_refusal_is_a_sentence_with_the_limits_beside_it():
    """Clients translate by the type and fill in the numbers."""
    refusal = Refusal("Too long", type="video_duration_too_long", max_duration=600)

    assert ("Too long", "video_duration_too_long") == (str(refusal), refusal.type)
    assert {"max_duration": 600} == refusal.ctx
